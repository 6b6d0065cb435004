/** Modalities' names of our metrics, and the part of its results that each belongs to. */

interface ModalitiesName {
  /** Tag of the data loader. */
  readonly tag: 'train' | 'val'
  readonly part: 'losses' | 'metrics' | 'throughput_metrics'
  readonly name: string
}

const train = (part: ModalitiesName['part'], name: string): ModalitiesName => ({ tag: 'train', part, name })
const heldOut = (part: ModalitiesName['part'], name: string): ModalitiesName => ({ tag: 'val', part, name })

export const modalitiesNames: Readonly<Record<string, ModalitiesName>> = {
  'train/loss_average': train('losses', 'train loss avg'),
  'train/loss': train('losses', 'train loss last'),
  'train/consumed_tokens': train('metrics', 'consumed tokens'),
  'train/gradient_norm': train('metrics', 'grad norm last'),
  'train/samples_per_second': train('throughput_metrics', 'train samples/s'),
  'train/learning_rate': train('throughput_metrics', 'lr mean'),
  'train/memory_mb': train('throughput_metrics', 'peak memory rank 0 (MB)'),
  'train/utilization': train('throughput_metrics', 'train mfu (16-bit)'),
  'held_out/loss': heldOut('losses', 'CLMCrossEntropyLoss'),
  'held_out/samples_per_second': heldOut('throughput_metrics', 'evaluation_num_samples_per_second'),
}

export type NameScheme = 'penstock' | 'modalities'

/** Modalities prefixes each name with the tag of the data loader and a space. */
export function metricName(name: string, scheme: NameScheme): string {
  const known = scheme === 'modalities' ? modalitiesNames[name] : undefined
  return known === undefined ? name : `${known.tag} ${known.name}`
}
