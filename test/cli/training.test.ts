/** Training from the command line: kill, stop, resume, generate. */
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { continueText } from '#src/pipelines/text-model'
import { listCheckpoints } from '#src/training/checkpoint'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { penstock, start } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const STEPS = 40

const definition = (checkpoints: string): string => {
  writeFileSync(
    at(`${checkpoints}.yaml`),
    `stages:
  - shuffle-samples: { path: ${at('data.pbin')}, sequence_length: 16, batch_size: 4, epochs: endless, to: 0.9 }
  - feed-trainer:
      tokenizer: ${at('tokenizer.json')}
      model: { sequence_length: 16, layers: 1, heads: 2, width: 32 }
      batch_size: 4
      steps: ${STEPS}
      held_out: { path: ${at('data.pbin')}, from: 0.9 }
      evaluation: { every_steps: 10, batches: 2 }
      checkpoint: { folder: ${at(checkpoints)}, every_steps: 4 }
      log_every_steps: 1
`,
  )
  return at(`${checkpoints}.yaml`)
}

/** Losses by step in full precision, from the JSON events. */
const lossesOf = (err: string): Map<number, number> =>
  new Map(
    err
      .split('\n')
      .filter(line => line.includes('"kind":"step"'))
      .map(line => JSON.parse(line).event as { step: number; loss: number })
      .map(({ step, loss }) => [step, loss]),
  )

const weightsHash = (checkpoints: string): string => {
  const newest = readdirSync(at(checkpoints))
    .filter(name => name.startsWith('step-'))
    .toSorted()
    .at(-1)!
  expect(newest).toBe(`step-${String(STEPS).padStart(6, '0')}`)
  return createHash('sha256')
    .update(readFileSync(join(at(checkpoints), newest, 'model.safetensors')))
    .digest('hex')
}

let uninterrupted: { losses: Map<number, number>; hash: string }

beforeAll(async () => {
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  const lines = Array.from({ length: 300 }, (_, line) =>
    JSON.stringify({ text: `a line of text, number ${line % 17}` }),
  )
  writeFileSync(at('data.jsonl'), `${lines.join('\n')}\n`)
  const packing = [
    'pack',
    at('data.jsonl'),
    '-t',
    at('tokenizer.json'),
    '-o',
    at('data.pbin'),
    '--end-of-document',
    END,
  ]
  expect(await penstock(packing)).toMatchObject({ code: 0 })
  const { code, err } = await penstock(['train', definition('uninterrupted'), '--json'])
  expect(code).toBe(0)
  uninterrupted = { losses: lossesOf(err), hash: weightsHash('uninterrupted') }
  expect(uninterrupted.losses.size).toBe(STEPS)
})

async function interrupted(name: string, signal: NodeJS.Signals, atStep: number): Promise<number | null> {
  const run = start(['train', definition(name), '--json'])
  await run.shows(`"kind":"step","step":${atStep},`)
  run.kill(signal)
  const { code, err } = await run.outcome
  expect(lossesOf(err).size).toBeLessThan(STEPS)
  if (signal !== 'SIGKILL') expect(err).toContain(`{"event":"stopping","signal":"${signal}"}`)
  return code
}

describe('training', () => {
  it.each([
    ['kill -9', 'SIGKILL', null],
    ['Ctrl-C', 'SIGINT', 130],
    ['SIGTERM', 'SIGTERM', 143],
  ] as const)('resumes after %s with the losses and weights of an uninterrupted run', async (_name, signal, exit) => {
    const name = `after-${signal}`
    expect(await interrupted(name, signal, 6)).toBe(exit)
    expect(await interrupted(name, signal, 17)).toBe(exit)
    const { code, err } = await penstock(['train', definition(name), '--json'])
    expect(code).toBe(0)
    const losses = lossesOf(err)
    expect(losses.size).toBeGreaterThan(0)
    for (const [step, loss] of losses) expect(loss).toBe(uninterrupted.losses.get(step))
    expect(weightsHash(name)).toBe(uninterrupted.hash)
  })

  it('records the end-of-document token of the packed file in its checkpoints', () => {
    const state = join(at('uninterrupted'), `step-${String(STEPS).padStart(6, '0')}`, 'state.json')
    // byteTokenizer() has 256 bytes, 3 merges, and END as an added token.
    expect(JSON.parse(readFileSync(state, 'utf8'))).toMatchObject({ endOfDocumentId: 259, model: { vocab_size: 384 } })
  })

  it('rejects a vocab_size without room for the end-of-document token, in plan as in train', async () => {
    const file = definition('too-small')
    writeFileSync(file, readFileSync(file, 'utf8').replace('width: 32', 'width: 32, vocab_size: 259'))
    for (const command of ['plan', 'train']) {
      const { code, out, err } = await penstock([command, file])
      expect(code).toBe(1)
      expect(out + err).toContain('documents end with token 259')
    }
  })

  it('reports the result at the end, and nothing to do when it was finished before', async () => {
    const last = join(at('uninterrupted'), `step-${String(STEPS).padStart(6, '0')}`)
    const { code, err } = await penstock(['train', definition('uninterrupted')])
    expect(code, err).toBe(0)
    expect(err).toContain(`nothing to do, ${STEPS} of ${STEPS} steps, held-out loss `)
    expect(err).toContain(`  model: ${last}\n  next: penstock generate ${last} --prompt TEXT\n`)
    expect(err).not.toContain('records read')
  })

  it('reduces the loss', () => {
    expect(uninterrupted.losses.get(STEPS)!).toBeLessThan(uninterrupted.losses.get(1)! - 0.5)
  })

  it('generates the same text from the same seed, with the tokenizer of the checkpoint', async () => {
    const args = ['generate', at('uninterrupted'), '--prompt', 'a line', '--max-tokens', '12', '--seed', '3']
    const first = await penstock(args)
    expect(first).toMatchObject({ code: 0, out: expect.stringMatching(/^a line/) })
    expect(first.out.length).toBeGreaterThan('a line\n'.length)
    expect((await penstock(args)).out).toBe(first.out)
    expect((await penstock(['inspect', at('uninterrupted')])).out).toContain(`step          ${STEPS}`)
  })

  it('generates several texts for each line of a file, as JSON lines', async () => {
    writeFileSync(at('prompts.txt'), 'a line\n\nanother\r\n')
    const args = ['generate', at('uninterrupted'), '--max-tokens', '5', '--seed', '3', '--top-p', '0.9', '--json']
    const { code, out, err } = await penstock([...args, '--prompts', at('prompts.txt'), '--samples', '2'])
    expect(code, err).toBe(0)
    const texts = out
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(texts.map(({ prompt, seed }) => [prompt, seed])).toEqual([
      ['a line', 3],
      ['a line', 4],
      ['another', 3],
      ['another', 4],
    ])
    for (const { prompt, text, tokens, end } of texts) {
      expect(text.startsWith(prompt)).toBe(true)
      expect(end === 'max-tokens' ? tokens : 0).toBe(end === 'max-tokens' ? 5 : 0)
    }
    const single = await penstock([...args, '--prompt', 'another', '--seed', '4'])
    expect(JSON.parse(single.out)).toEqual(texts[3])
  })

  it('stops at the end of a document unless told otherwise', async () => {
    const args = [
      'generate',
      at('uninterrupted'),
      '--prompt',
      'a line',
      '--max-tokens',
      '40',
      '--temperature',
      '0',
      '--json',
    ]
    const stopped = JSON.parse((await penstock(args)).out)
    const full = JSON.parse((await penstock([...args, '--no-stop'])).out)
    expect(full).toMatchObject({ tokens: 40, end: 'max-tokens' })
    expect(full.text.startsWith(stopped.text)).toBe(true)
    expect(stopped).toMatchObject(stopped.tokens < 40 ? { end: 'end-token' } : { text: full.text })
  })

  it('shows every generated token, even an incomplete character at the end', async () => {
    const options = { prompt: 'a line', temperature: 3, seed: 7, stop: false, engine: 'tfjs', backend: 'wasm' }
    let previous = 'a line'
    for (let maxTokens = 1; maxTokens <= 12; maxTokens++) {
      let text = ''
      for await (const piece of continueText(at('uninterrupted'), { ...options, maxTokens })) text += piece
      expect(text).not.toBe(previous)
      previous = text
    }
  })

  it('falls back to an older checkpoint if the newest is damaged, but not if it is unreadable', async () => {
    cpSync(at('uninterrupted'), at('hurt'), { recursive: true })
    const newest = join(at('hurt'), `step-${String(STEPS).padStart(6, '0')}`)
    const model = join(newest, 'model.safetensors')
    writeFileSync(model, 'damaged')
    const { code, err } = await penstock(['convert', at('hurt'), at('model')])
    expect(code, err).toBe(0)
    expect(err).toContain(`skipped a damaged checkpoint: ${model}: `)
    rmSync(model)
    mkdirSync(model)
    const refused = await penstock(['convert', at('hurt'), at('other-model')])
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining(`${model}: `) })
    expect(refused.err).toContain('[FILE_UNREADABLE]')
  })

  // /proc/self/mem exists, but reading its first byte fails.
  it.runIf(process.platform === 'linux')('does not convert a checkpoint whose tokenizer is unreadable', async () => {
    const [newest] = await listCheckpoints(at('uninterrupted'))
    const tokenizer = join(newest!, 'tokenizer.json')
    rmSync(tokenizer)
    symlinkSync('/proc/self/mem', tokenizer)
    const { code, err } = await penstock(['convert', at('uninterrupted'), at('none')])
    expect(err).toMatch(/^penstock: \S*tokenizer\.json: .*\[FILE_UNREADABLE\]$/m)
    expect(code).toBe(1)
    expect(existsSync(at('none'))).toBe(false)
  })
})
