/**
 * How a run of tokens is cut into samples. A block holds the inputs and, one place later, the targets. With `reuseLastTarget`
 * (the default, sequenceLength + 1 tokens a block) the last target of a block is the first input of the next; without it
 * blocks are disjoint and sequenceLength long, so the model sees one position less. What does not fill a block is dropped.
 */
import { PenstockError } from '../errors.js'

export interface BlockGeometry {
  /** Tokens of a block. */
  readonly block: number
  /** Tokens from the start of a block to the start of the next. */
  readonly stride: number
  /** Number of blocks: the samples of one epoch. */
  readonly count: number
}

/** @throws DATA_TOO_SMALL when not even one block can be filled. */
export function blockGeometry(tokenCount: number, sequenceLength: number, reuseLastTarget = true): BlockGeometry {
  if (!Number.isSafeInteger(sequenceLength) || sequenceLength < 2) {
    throw new PenstockError('OPTION_INVALID', `sequence_length is ${sequenceLength}; expected a whole number from 2 on`)
  }
  const block = reuseLastTarget ? sequenceLength + 1 : sequenceLength
  const stride = sequenceLength
  if (tokenCount < block) {
    throw new PenstockError('DATA_TOO_SMALL', `${tokenCount} tokens do not fill one block of ${block} tokens`)
  }
  return { block, stride, count: Math.floor((tokenCount - block) / stride) + 1 }
}

/** First token of a sample. */
export function blockStart(geometry: BlockGeometry, sample: number): number {
  return sample * geometry.stride
}
