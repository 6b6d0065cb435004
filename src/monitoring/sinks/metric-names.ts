/** What the reference system calls our metrics, and in which part of its results it puts them. */

interface ReferenceName {
  /** The data loader that a result is about. */
  readonly tag: 'train' | 'val'
  readonly part: 'losses' | 'metrics' | 'throughput_metrics'
  readonly name: string
}

const train = (part: ReferenceName['part'], name: string): ReferenceName => ({ tag: 'train', part, name })
const heldOut = (part: ReferenceName['part'], name: string): ReferenceName => ({ tag: 'val', part, name })

export const referenceNames: Readonly<Record<string, ReferenceName>> = {
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

/** The reference puts the data loader's tag and a space before each name. */
export function metricName(name: string, scheme: NameScheme): string {
  const reference = scheme === 'modalities' ? referenceNames[name] : undefined
  return reference === undefined ? name : `${reference.tag} ${reference.name}`
}
