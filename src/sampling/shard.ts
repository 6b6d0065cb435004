/**
 * Which samples one rank takes: the arithmetic of the reference's resumable distributed sampler. The order of all ranks
 * together is fixed; the first `skip` samples of it are done; rank r takes every worldSize-th of the rest, from r on.
 * As `skip` counts samples of all ranks, the number of ranks may change at every resume.
 */
import { PenstockError } from '../errors.js'
import type { SampleOrder } from './sample-order.js'

export interface ShardOptions {
  /** Samples of this epoch, all ranks together, that are done. */
  readonly skip: number
  /** In [0, worldSize). */
  readonly rank: number
  readonly worldSize: number
  /** Leave out what does not fill all ranks (true), or fill up from the start of the order (false). */
  readonly dropLast: boolean
}

/** How many samples each rank takes of what remains; the same at every rank. */
export function samplesPerRank(remaining: number, worldSize: number, dropLast: boolean): number {
  const share = remaining / worldSize
  return dropLast ? Math.floor(share) : Math.ceil(share)
}

/** The part of an order that one rank takes, itself an order: nothing is copied, any place may be asked for. */
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

/** The sample indices of one rank, lazily. */
export function* samplesOfRank(order: SampleOrder, options: ShardOptions): Generator<number, void, undefined> {
  const shard = shardOf(order, options)
  for (let place = 0; place < shard.length; place++) yield shard.at(place)
}

/** The epoch and the `skip` within it, of a count of samples since the start of epoch 0. An epoch's dropped rest counts. */
export function positionInEpochs(globalSamples: number, sampleCount: number): { epoch: number; skip: number } {
  const epoch = Math.floor(globalSamples / sampleCount)
  return { epoch, skip: globalSamples - epoch * sampleCount }
}

function checkWholeNumber(name: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return
  throw new PenstockError('OPTION_INVALID', `${name} is ${value}; expected a whole number from ${min} to ${max}`)
}
