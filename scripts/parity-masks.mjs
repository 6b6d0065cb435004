// Compares inputs and masked targets of a micro-batch with Modalities' collators, on samples of every kind.

import { pythonRandom } from '../dist/sampling/python-random.js'
import { toTrainingBatch } from '../dist/training/engine.js'
import { maskTargets } from '../dist/training/loss-mask.js'

const [BEGIN, END] = [1, 2]

/** Samples as lists of tokens; 1 begins and 2 ends a span that contributes to the loss. */
const HAND_MADE = {
  'one answer': [[5, 1, 6, 7, 2, 8, 9]],
  'an answer without an end': [[5, 1, 6, 2, 8, 1, 9]],
  'begin as the first input, not a target': [[1, 6, 7, 2, 8, 1, 2]],
  'begin as the first target': [[5, 1, 6, 2, 8]],
  'begin as the last target': [[5, 1, 6, 2, 1]],
  'end as the first target': [[5, 2, 6, 1, 8]],
  'end right after begin': [[5, 1, 2, 6, 7]],
  'begin right after end': [[5, 1, 6, 2, 1, 6, 2]],
  'begin twice': [[5, 1, 6, 1, 7, 2]],
  'begin twice in a row': [[5, 1, 1, 7, 2]],
  'end twice': [[5, 1, 6, 2, 7, 2]],
  'no begin': [[5, 6, 7, 2, 8]],
  'no end': [[5, 1, 6, 7, 8]],
  nothing: [[5, 6, 7, 8, 9]],
  'both in the batch, in one sample neither': [
    [5, 1, 6, 2, 8],
    [5, 6, 7, 8, 9],
  ],
  'begin in one sample, end in another': [
    [5, 1, 6, 7, 8],
    [5, 6, 7, 8, 2],
  ],
  'begin in one sample, none in another': [
    [5, 1, 6, 7, 8],
    [5, 6, 7, 8, 9],
  ],
  'two tokens': [[1, 2]],
}

export function maskChecks() {
  const random = pythonRandom(4)
  const made = Array.from({ length: 200 }, (_, at) => [`random samples ${at}`, randomSamples(random, at)])
  return [...Object.entries(HAND_MADE), ...made].map(([name, samples]) => ({
    name: `loss mask: ${name}`,
    job: { do: 'collate', samples, begin: BEGIN, end: END },
    ours: answer => [collated(samples), answer.value ?? 'refused'],
  }))
}

function collated(samples) {
  const block = samples[0].length
  const { inputs, targets } = toTrainingBatch(Int32Array.from(samples.flat()), samples.length, block)
  const rowsOf = ids => samples.map((_, row) => [...ids.subarray(row * (block - 1), (row + 1) * (block - 1))])
  try {
    maskTargets(
      samples.map((_, row) => targets.subarray(row * (block - 1), (row + 1) * (block - 1))),
      { beginId: BEGIN, endId: END },
    )
    return { inputs: rowsOf(inputs), targets: rowsOf(targets) }
  } catch {
    return 'refused'
  }
}

/** Half of the samples are well-formed conversations, the other half random tokens. */
function randomSamples(random, at) {
  const draw = limit => Math.floor(random.random() * limit)
  const rows = 1 + draw(4)
  const block = 2 + draw(30)
  return Array.from({ length: rows }, () => {
    if (at % 2 === 0) return Array.from({ length: block }, () => (random.random() < 0.15 ? 1 + draw(2) : 3 + draw(9)))
    let next = BEGIN
    return Array.from({ length: block }, () => {
      if (random.random() > 0.2) return 3 + draw(9)
      const token = next
      next = next === BEGIN ? END : BEGIN
      return token
    })
  })
}
