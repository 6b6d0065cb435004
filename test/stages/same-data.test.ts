/** A training rejects data other than its checkpoint's, tokens of another tokenizer, and held-out samples it trains on. */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { writePackedManifest } from '#src/files/manifest'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { type FeedTrainerOptions, feedTrainer } from '#src/stages/feed-trainer'
import { type ShuffleSamplesOptions, shuffleSamples } from '#src/stages/samples/shuffle-samples'
import { tokenizerReference } from '#src/workers/tokenizer/load-tokenizer'
import { byteTokenizer } from './byte-tokenizer.js'
import { temporaryFolder } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const TOKENS = 2000

/** Writes a packed file, with a manifest if `tokenizer` is given. */
async function pack(name: string, tokenizer?: string, factor = 1): Promise<string> {
  const tokens = Uint8Array.from({ length: TOKENS }, (_, index) => (factor * index) % 12)
  const header = encodePbinHeader({ dataBytes: TOKENS, tokenBytes: 1 })
  writeFileSync(at(name), Buffer.concat([header, tokens, writePairList([[0, TOKENS]])]))
  if (tokenizer !== undefined) {
    const { sha256 } = await tokenizerReference(tokenizer)
    const counts = { documents: 1, tokens: TOKENS, dataBytes: TOKENS, tokenBytes: 1, fileBytes: TOKENS }
    const identity = { sha256, vocabSize: 256 }
    await writePackedManifest(at(name), { version: 1, ...counts, checksums: [factor], tokenizer: identity })
  }
  return at(name)
}

const model = { vocab_size: 384, sequence_length: 8, layers: 1, heads: 2, width: 16, ffn_width: 24 }

async function train(samples: Partial<ShuffleSamplesOptions>, options: FeedTrainerOptions = {}): Promise<void> {
  const source = shuffleSamples({ path: at('a.pbin'), sequence_length: 8, batch_size: 4, shuffle: 'torch', ...samples })
  await pipeline(source, feedTrainer({ model, batch_size: 4, steps: 1, ...options }))
}

beforeAll(async () => {
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  writeFileSync(at('other.json'), JSON.stringify(byteTokenizer(), null, 1))
  await pack('a.pbin')
  await pack('b.pbin')
  await pack('packed.pbin', at('tokenizer.json'))
  await pack('packed-by-other.pbin', at('other.json'))
})

describe('a resumed training', () => {
  const [a, b] = [at('a.pbin'), at('b.pbin')]
  it.each<[string, Partial<ShuffleSamplesOptions>, Partial<ShuffleSamplesOptions>, string]>([
    ['another order', {}, { shuffle: 'bijective' }, 'shuffle'],
    ['another seed', {}, { seed: 1 }, 'seed'],
    ['a shifted range', { to: 0.9 }, { from: 0.1 }, 'from'],
    ['a longer range', { to: 0.9 }, {}, 'to'],
    ['disjoint blocks', {}, { reuse_last_target: false }, 'reuse_last_target'],
    ['another split into files', { more_paths: [b] }, { path: b, more_paths: [a, a] }, 'more_paths'],
  ])('rejects %s by name', async (name, before, after, option) => {
    const checkpoint = { folder: at(`checkpoints of ${name}`) }
    await train(before, { checkpoint })
    await expect(train(after, { checkpoint, steps: 2 })).rejects.toMatchObject({
      code: 'WORLD_MISMATCH',
      message: expect.stringContaining(option),
    })
    await train(after, { checkpoint, steps: 2, accept_changed_data: true })
    // Only the data of the checkpoint may differ: the next one is of the new data.
    await train(after, { checkpoint, steps: 3 })
  })

  it('rejects files with other content of the same size', async () => {
    const checkpoint = { folder: at('checkpoints of content') }
    const path = await pack('changing.pbin', at('tokenizer.json'))
    await train({ path }, { checkpoint })
    await pack('changing.pbin', at('tokenizer.json'), 5)
    await expect(train({ path }, { checkpoint, steps: 2 })).rejects.toMatchObject({ code: 'WORLD_MISMATCH' })
  })

  it('rejects another tokenizer, given or recorded with the data', async () => {
    const checkpoint = { folder: at('checkpoints of tokenizer') }
    await train({}, { checkpoint, tokenizer: at('tokenizer.json') })
    const other = train({}, { checkpoint, tokenizer: at('other.json'), steps: 2 })
    await expect(other).rejects.toMatchObject({ code: 'TOKENIZER_MISMATCH' })
    const unnamed = { folder: at('checkpoints of packed') }
    await train({ path: at('packed.pbin') }, { checkpoint: unnamed })
    const repacked = train(
      { path: at('packed-by-other.pbin') },
      { checkpoint: unnamed, steps: 2, accept_changed_data: true },
    )
    await expect(repacked).rejects.toMatchObject({ code: 'TOKENIZER_MISMATCH' })
  })

  it('continues from a checkpoint of an earlier version', async () => {
    const checkpoint = { folder: at('checkpoints of cursor') }
    await train({}, { checkpoint })
    const file = join(checkpoint.folder, 'step-000001', 'state.json')
    const { digest: _, ...state } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, Record<string, unknown>>
    for (const field of ['order', 'firstSample', 'block', 'files']) delete state.cursor![field]
    const digest = createHash('sha256').update(JSON.stringify(state)).digest('hex')
    writeFileSync(file, `${JSON.stringify({ ...state, digest }, null, 2)}\n`)
    await train({}, { checkpoint, steps: 2 })
  })
})

describe('tokens of another tokenizer', () => {
  it('are rejected in the training data and in the held-out data', async () => {
    const tokenizer = at('tokenizer.json')
    await train({ path: at('packed.pbin') }, { tokenizer })
    const path = at('packed-by-other.pbin')
    await expect(train({ path }, { tokenizer })).rejects.toMatchObject({ code: 'TOKENIZER_MISMATCH' })
    const heldOut = { tokenizer, held_out: { path }, evaluation: {} }
    await expect(train({}, heldOut)).rejects.toMatchObject({ code: 'TOKENIZER_MISMATCH' })
  })

  it('are rejected next to tokens of the first tokenizer', async () => {
    const mixed = { path: at('packed.pbin'), more_paths: [at('packed-by-other.pbin')] }
    await expect(train(mixed)).rejects.toMatchObject({ code: 'TOKENIZER_MISMATCH' })
  })
})

describe('held-out samples', () => {
  const evaluation = { every_steps: 1, batches: 1 }
  const heldOut = (held_out: FeedTrainerOptions['held_out']): FeedTrainerOptions => ({ held_out, evaluation })

  it('are rejected if the training uses them', async () => {
    const overlaps = expect.objectContaining({
      code: 'OPTION_INVALID',
      message: expect.stringMatching(/overlaps.* of shuffle-samples/),
    })
    await expect(train({}, heldOut({ path: at('a.pbin'), from: 0.9 }))).rejects.toThrow(overlaps)
    // The last tenth of the samples of both files is in the second file only.
    const both = { more_paths: [at('b.pbin')], to: 0.9 }
    await expect(train(both, heldOut({ path: at('a.pbin'), from: 0.9 }))).rejects.toThrow(overlaps)
    await train(both, heldOut({ path: at('b.pbin'), from: 0.8 }))
  })

  it('may be accepted explicitly', async () => {
    await train({}, heldOut({ path: at('a.pbin'), from: 0.9, allow_overlap: true }))
  })
})
