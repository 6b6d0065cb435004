/**
 * The order of a data set's samples in one epoch: a function from position to sample index.
 *
 * kind        cost for n samples                             origin
 * none        none                                           order of the file
 * bijective   none                                           this library; the default of shuffle-samples
 * torch       4 n bytes, 50 to 150 n nanoseconds at start    Modalities: torch.randperm, seed + epoch
 */
import { bijection } from './bijection.js'
import { finish, type Sliced } from './slices.js'
import { torchRandpermSlices } from './torch-randperm.js'

export interface SampleOrder {
  readonly length: number
  /** Index of the sample at a position in [0, length). */
  at(position: number): number
}

export const ORDER_KINDS = ['none', 'bijective', 'torch'] as const
export type OrderKind = (typeof ORDER_KINDS)[number]

export interface SampleOrderOptions {
  readonly kind: OrderKind
  readonly length: number
  readonly seed: number
  /** From 0. */
  readonly epoch: number
}

export function sampleOrder(options: SampleOrderOptions): SampleOrder {
  return finish(sampleOrderSlices(options))
}

/** `sampleOrder` in slices, since computing a torch order takes long. */
export function* sampleOrderSlices({ kind, length, seed, epoch }: SampleOrderOptions): Sliced<SampleOrder> {
  if (kind === 'none') return { length, at: position => position }
  if (kind === 'bijective') return bijection(length, seed, epoch)
  const permutation = yield* torchRandpermSlices(length, seed + epoch)
  return { length, at: position => permutation[position]! }
}
