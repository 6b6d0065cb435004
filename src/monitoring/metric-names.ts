/** What the reference system calls our metrics. */

/** The reference puts the tag of the data loader and a space before each name. */
const REFERENCE_NAMES: Readonly<Record<string, string>> = {
  'train/loss': 'train train loss last',
  'train/loss_average': 'train train loss avg',
  'train/learning_rate': 'train lr mean',
  'train/gradient_norm': 'train grad norm last',
  'train/consumed_tokens': 'train consumed tokens',
  'train/samples_per_second': 'train train samples/s',
  'train/memory_mb': 'train peak memory rank 0 (MB)',
  'train/utilization': 'train train mfu (16-bit)',
  'held_out/loss': 'val CLMCrossEntropyLoss',
  'held_out/samples_per_second': 'val evaluation_num_samples_per_second',
}

export type NameScheme = 'penstock' | 'modalities'

export function metricName(name: string, scheme: NameScheme): string {
  return scheme === 'penstock' ? name : (REFERENCE_NAMES[name] ?? name)
}
