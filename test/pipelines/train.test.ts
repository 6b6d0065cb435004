import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { generate, pipeline, train } from '#src/index'
import { extractText, readLines, source, tokenizeBatches, writePbin } from '#src/stages/index'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const samples = { path: at('a.pbin'), sequence_length: 16, batch_size: 4, epochs: 'endless' } as const
const trainer = (checkpoints: string, steps: number) => ({
  tokenizer: at('tokenizer.json'),
  model: { sequence_length: 16, layers: 1, heads: 2, width: 32 },
  batch_size: 4,
  steps,
  log_every_steps: 1,
  checkpoint: { folder: at(checkpoints), every_steps: 100 },
})

beforeAll(async () => {
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  const lines = source<Uint8Array>('lines', async function* () {
    yield Buffer.from(`${JSON.stringify({ text: 'one two three '.repeat(20) })}\n`.repeat(30))
  })
  const tokens = tokenizeBatches({ tokenizer: at('tokenizer.json'), end_of_document: END, workers: 1 })
  await pipeline([lines, readLines(), extractText(), tokens, writePbin({ path: at('a.pbin') })])
})

it('trains with events and a result, and generates text with the model', async () => {
  const kinds: string[] = []
  const result = await train({ samples, trainer: trainer('whole', 3), onEvent: ({ kind }) => kinds.push(kind) })
  expect(result).toMatchObject({ reason: 'completed', step: 3, totalSteps: 3 })
  expect(kinds.filter(kind => kind === 'step')).toHaveLength(3)
  const pieces: string[] = []
  for await (const piece of generate(at('whole'), { prompt: 'one', maxTokens: 5, stop: false })) pieces.push(piece)
  expect(pieces[0]).toBe('one')
  expect(pieces.length).toBeGreaterThan(1)
})

it('stops at an abort: the training saves a checkpoint, the generation throws', async () => {
  const stop = new AbortController()
  const running = train({
    samples,
    trainer: trainer('stopped', 10_000),
    signal: stop.signal,
    onEvent: () => stop.abort(),
  })
  await expect(running).rejects.toMatchObject({ code: 'STOPPED' })
  expect(readdirSync(at('stopped')).some(name => name.startsWith('step-'))).toBe(true)
  const texts = generate(at('stopped'), { prompt: 'one', signal: AbortSignal.abort() })
  await expect(texts.next()).rejects.toMatchObject({ code: 'STOPPED' })
})

it('rejects wrong options before it opens a file', async () => {
  const wrong = { ...trainer('none', 3), steps: -1 }
  await expect(train({ samples: { ...samples, path: 'none' }, trainer: wrong })).rejects.toMatchObject({
    code: 'OPTION_INVALID',
  })
})
