import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { expect, test } from 'vitest'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { feedTrainer } from '#src/stages/feed-trainer'
import { sampleRanges, shuffleSamples } from '#src/stages/samples/shuffle-samples'
import { requireHeldOut } from '#src/training/held-out'
import { temporaryFolder } from '../stages/support.js'

const path = join(temporaryFolder(), 'data.pbin')
const [sequence_length, batch_size] = [8, 4]
const model = { vocab_size: 12, sequence_length, layers: 1, heads: 2, width: 16 }

/** Trains on 40 samples, of which the last are held out. */
async function train(heldOutFrom: number): Promise<string[]> {
  writeSamples(path, 40)
  const kinds: string[] = []
  const trainer = feedTrainer({
    model,
    batch_size,
    steps: 2,
    log_every_steps: 1,
    held_out: { path, from: heldOutFrom },
    evaluation: { every_steps: 100 },
  }).on('report', event => kinds.push(event.kind))
  await pipeline(shuffleSamples({ path, sequence_length, batch_size, to: heldOutFrom }), trainer).catch(error => {
    kinds.push(error.code)
  })
  return kinds
}

/** Writes a file of samples that share their last token with the next. */
function writeSamples(path: string, samples: number): void {
  const tokens = new Uint8Array(samples * sequence_length + 1)
  const header = encodePbinHeader({ dataBytes: tokens.length, tokenBytes: 1 })
  writeFileSync(path, Buffer.concat([header, tokens, writePairList([[0, tokens.length]])]))
}

test('the samples of all held-out files count', async () => {
  const paths = [1, 2, 3].map(number => join(temporaryFolder(), `held-out-${number}.pbin`))
  for (const path of paths) writeSamples(path, 2)
  const ranges = await sampleRanges({ path: paths[0]!, more_paths: paths.slice(1), sequence_length })
  expect(() => requireHeldOut(ranges.slice(1), { batch_size: 5 })).toThrow(
    expect.objectContaining({ code: 'DATA_TOO_SMALL' }),
  )
  requireHeldOut(ranges, { batch_size: 5 })
})

test('a run of several epochs takes the steps that each epoch provides', async () => {
  writeSamples(path, 15)
  const ends: { step: number; reason: string }[] = []
  const options = { path, sequence_length, batch_size: 8, epochs: 5 }
  const trainer = feedTrainer({ model, batch_size: 8, epochs: 5 }).on('report', event => {
    if (event.kind === 'end') ends.push(event)
  })
  await pipeline(shuffleSamples(options), trainer)
  expect(ends).toMatchObject([{ step: 5, totalSteps: 5, reason: 'completed' }])
})

test('a held-out part smaller than a batch is rejected before the first step', async () => {
  expect(await train(0.925)).toEqual(['DATA_TOO_SMALL'])
  expect(await train(0.9)).toEqual(['step', 'step', 'evaluation', 'end'])
})
