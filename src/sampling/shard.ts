/**
 * The samples of one rank, computed as in Modalities' resumable distributed sampler. The global order is fixed and its first
 * `skip` samples have been consumed; rank r takes every worldSize-th of the remaining samples, starting at r. Since `skip`
 * counts the samples of all ranks, the number of ranks may change at every resume.
 */
import { PenstockError } from '../errors.js'
import type { SampleOrder } from './sample-order.js'

export interface ShardOptions {
  /** Samples of this epoch consumed by all ranks together. */
  readonly skip: number
  /** In [0, worldSize). */
  readonly rank: number
  readonly worldSize: number
  /** Drop the last incomplete round (true), or pad it with samples from the start of the order (false). */
  readonly dropLast: boolean
}

/** Number of remaining samples that each rank takes; equal for all ranks. */
export function samplesPerRank(remaining: number, worldSize: number, dropLast: boolean): number {
  const share = remaining / worldSize
  return dropLast ? Math.floor(share) : Math.ceil(share)
}

/** The part of an order that belongs to one rank, as an order: random access, nothing is copied. */
export function shardOf(order: SampleOrder, { skip, rank, worldSize, dropLast }: ShardOptions): SampleOrder {
  checkWholeNumber('skip', skip, 0, order.length)
  checkWholeNumber('worldSize', worldSize, 1, Number.MAX_SAFE_INTEGER)
  checkWholeNumber('rank', rank, 0, worldSize - 1)
  const remaining = order.length - skip
  return {
    length: samplesPerRank(remaining, worldSize, dropLast),
    at(place) {
      const taken = place * worldSize + rank
      return order.at(taken < remaining ? skip + taken : (taken - remaining) % order.length)
    },
  }
}

/** The sample indices of one rank, as a lazy sequence. */
export function* samplesOfRank(order: SampleOrder, options: ShardOptions): Generator<number, void, undefined> {
  const shard = shardOf(order, options)
  for (let place = 0; place < shard.length; place++) yield shard.at(place)
}

/** Epoch and `skip` for a number of samples since the start of epoch 0. Samples dropped at the end of an epoch count. */
export function positionInEpochs(globalSamples: number, sampleCount: number): { epoch: number; skip: number } {
  const epoch = Math.floor(globalSamples / sampleCount)
  return { epoch, skip: globalSamples - epoch * sampleCount }
}

function checkWholeNumber(name: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return
  throw new PenstockError('OPTION_INVALID', `${name} is ${value}; expected an integer from ${min} to ${max}`)
}
