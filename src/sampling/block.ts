/**
 * Cuts a sequence of tokens into samples. A block holds the inputs and, shifted by one, the targets. With `reuseLastTarget`
 * (the default, sequenceLength + 1 tokens per block) the last target of a block is the first input of the next; without it
 * blocks are disjoint and sequenceLength long, so the model sees one position fewer. An incomplete last block is dropped.
 */

import { PenstockError } from '../errors.js'
import { count, quantity } from '../formats/message-words.js'

export interface BlockGeometry {
  /** Tokens per block. */
  readonly block: number
  /** Distance between the starts of consecutive blocks, in tokens. */
  readonly stride: number
  /** Number of blocks, which is the number of samples per epoch. */
  readonly count: number
}

/** @throws DATA_TOO_SMALL for fewer tokens than one block */
export function blockGeometry(tokenCount: number, sequenceLength: number, reuseLastTarget = true): BlockGeometry {
  if (!Number.isSafeInteger(sequenceLength) || sequenceLength < 2) {
    throw new PenstockError('OPTION_INVALID', `sequence_length is ${sequenceLength}; expected an integer of at least 2`)
  }
  const block = reuseLastTarget ? sequenceLength + 1 : sequenceLength
  const stride = sequenceLength
  if (tokenCount < block) {
    throw new PenstockError(
      'DATA_TOO_SMALL',
      `one block has ${quantity(block, 'token')}, the data only ${count(tokenCount)}`,
    )
  }
  return { block, stride, count: Math.floor((tokenCount - block) / stride) + 1 }
}
