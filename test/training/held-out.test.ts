import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { expect, test } from 'vitest'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { feedTrainer } from '#src/stages/feed-trainer'
import { shuffleSamples } from '#src/stages/shuffle-samples'
import { temporaryFolder } from '../stages/support.js'

const path = join(temporaryFolder(), 'data.pbin')
const [sequence_length, batch_size] = [8, 4]

/** Trains on 40 samples, of which the last are held out. */
async function train(heldOutFrom: number): Promise<string[]> {
  const tokens = new Uint8Array(40 * sequence_length + 1)
  const header = encodePbinHeader({ dataBytes: tokens.length, tokenBytes: 1 })
  writeFileSync(path, Buffer.concat([header, tokens, writePairList([[0, tokens.length]])]))
  const kinds: string[] = []
  const trainer = feedTrainer({
    model: { vocab_size: 12, sequence_length, layers: 1, heads: 2, width: 16 },
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

test('a held-out part smaller than a batch is rejected before the first step', async () => {
  expect(await train(0.925)).toEqual(['DATA_TOO_SMALL'])
  expect(await train(0.9)).toEqual(['step', 'step', 'evaluation', 'end'])
})
