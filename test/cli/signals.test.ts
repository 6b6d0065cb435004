/** Stop signals: at random moments of every command, and during reads that would block for ever. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { closeSync, constants as fileConstants, openSync, rmSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { byteTokenizer } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { MAIN, penstock } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const later = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

const tokenizer = at('tokenizer.json')
const lines = at('lines.jsonl')
const packed = at('packed.pbin')
const model = at('model')
const exported = at('exported')
const runLog = at('log.jsonl')
const packing = at('packing.yaml')
const training = at('training.yaml')
const FRESH = ['--fresh', '--quiet']
/** Every command that works on data or models; the others only print. */
const COMMANDS: Record<string, string[]> = {
  pack: ['pack', lines, '-t', tokenizer, '-o', at('out.pbin'), ...FRESH],
  'pack with a filter': ['pack', lines, '-t', tokenizer, '-o', at('out.pbin'), '--field', '.text | trim', ...FRESH],
  index: ['index', lines, '-o', at('out.idx'), ...FRESH],
  shuffle: ['shuffle', lines, '-o', at('out.jsonl'), ...FRESH],
  merge: ['merge', packed, packed, '-o', at('out.pbin'), ...FRESH],
  filter: ['filter', packed, '-o', at('out.pbin'), '--min-tokens', '5', ...FRESH],
  'train-tokenizer': ['train-tokenizer', lines, '-o', at('out.json'), '--vocab-size', '2000', ...FRESH],
  chunk: ['chunk', packed, '-o', at('out.pbin'), '--chunk', '0', '--of', '2', ...FRESH],
  run: ['run', packing, ...FRESH],
  train: ['train', training, '--quiet'],
  generate: ['generate', model, '--prompt', 'a line', '--max-tokens', '100'],
  convert: ['convert', model, at('out')],
  'convert --back': ['convert', '--back', exported, at('out')],
  init: ['init', lines, '-o', at('out.yaml')],
  plan: ['plan', training],
  verify: ['verify', packed],
  'verify --deep': ['verify', packed, '--deep', '--source', lines, '--tokenizer', tokenizer],
  repair: ['repair', packed, '-o', at('out.pbin')],
  inspect: ['inspect', packed, '--tokenizer', tokenizer],
  view: ['view', runLog],
  'data create_raw_index': ['data', 'create_raw_index', lines, '--index_path', at('out.idx')],
  stages: ['stages'],
}
/** Commands that run until they are stopped, and the time in which they are. */
const ENDLESS: Readonly<Record<string, number>> = { view: 1500 }

const OUTPUTS = ['out.pbin', 'out.idx', 'out.jsonl', 'out.json', 'out.yaml', 'out']
const removeOutputs = (): void => {
  for (const name of OUTPUTS) rmSync(at(name), { force: true, recursive: true })
}

/** A definition that trains in about a second, with evaluations and checkpoints. */
const trainingInto = (checkpoints: string): string =>
  JSON.stringify({
    stages: [
      { 'shuffle-samples': { path: packed, sequence_length: 32, batch_size: 4, epochs: 'endless', to: 0.9 } },
      {
        'feed-trainer': {
          tokenizer,
          model: { sequence_length: 32, layers: 1, heads: 2, width: 32 },
          batch_size: 4,
          steps: 100,
          held_out: { path: packed, from: 0.9 },
          evaluation: { every_steps: 20, batches: 20 },
          sample_texts: { prompt: 'a', every_steps: 30, max_tokens: 10 },
          checkpoint: { folder: checkpoints, every_steps: 30 },
        },
      },
    ],
    monitoring: { folder, jsonl: true },
  })

beforeAll(async () => {
  writeFileSync(tokenizer, JSON.stringify(byteTokenizer()))
  const text = Array.from({ length: 60_000 }, (_, line) => JSON.stringify({ text: ` line ${line * 7919} of a text ` }))
  writeFileSync(lines, `${text.join('\n')}\n`)
  writeFileSync(training, trainingInto(at('out')))
  writeFileSync(at('model.yaml'), trainingInto(model))
  const stages = [
    { 'read-file': { path: lines } },
    'read-lines',
    'validate-json',
    { 'extract-text': {} },
    { 'tokenize-batches': { tokenizer } },
    { 'write-pbin': { path: at('out.pbin') } },
  ]
  writeFileSync(packing, JSON.stringify({ stages }))
  for (const args of [
    ['pack', lines, '-t', tokenizer, '-o', packed, '--quiet'],
    ['train', at('model.yaml'), '--quiet'],
    ['convert', model, exported],
  ]) {
    expect(await penstock(args, folder)).toMatchObject({ code: 0 })
  }
}, 120_000)

interface Stopped {
  /** Until the process reported the signal or ended. */
  readonly effectMs: number
  readonly endMs: number
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly err: string
}

function open(args: readonly string[], stdin: 'ignore' | 'pipe' | number = 'ignore'): ChildProcess {
  return spawn(process.execPath, [MAIN, ...args], { cwd: folder, stdio: [stdin, 'ignore', 'pipe'] })
}

/** Sends a signal after a delay; undefined if the process ended before. */
async function stop(child: ChildProcess, name: NodeJS.Signals, delayMs: number): Promise<Stopped | undefined> {
  let err = ''
  let sentAt = Number.POSITIVE_INFINITY
  let effectAt: number | undefined
  child.stderr!.on('data', chunk => {
    err += chunk
    if (err.includes('stopping')) effectAt ??= performance.now()
  })
  const ended = new Promise<number>(resolve => child.once('close', () => resolve(performance.now())))
  await Promise.race([later(delayMs), ended])
  if (child.exitCode !== null || child.signalCode !== null) return undefined
  sentAt = performance.now()
  child.kill(name)
  const endMs = (await ended) - sentAt
  return { effectMs: (effectAt ?? sentAt + endMs) - sentAt, endMs, code: child.exitCode, signal: child.signalCode, err }
}

/** Milliseconds for which a command can be stopped. */
async function durationOf(name: string, args: readonly string[]): Promise<number> {
  const endless = ENDLESS[name]
  if (endless !== undefined) return endless
  removeOutputs()
  const started = performance.now()
  expect(await penstock(args, folder)).toMatchObject({ code: 0 })
  return performance.now() - started
}

describe.each(Object.entries(COMMANDS))('%s', (name, args) => {
  it('stops within 200 ms of SIGTERM at random moments', async () => {
    const duration = await durationOf(name, args)
    for (let round = 0; round < 4; round++) {
      const delay = Math.random() * duration
      const effects: number[] = []
      // On a busy machine a single attempt may take longer.
      while (effects.length < 5 && !effects.some(ms => ms < 200)) {
        removeOutputs()
        const stopped = await stop(open(args), 'SIGTERM', delay)
        if (stopped === undefined) break
        expect(stopped.endMs).toBeLessThan(5000)
        // A signal may also arrive after the outputs were renamed.
        expect(stopped).toSatisfy(({ code, signal }) => code === 143 || code === 0 || signal === 'SIGTERM')
        effects.push(stopped.effectMs)
      }
      if (effects.length > 0) expect(Math.min(...effects)).toBeLessThan(200)
    }
    removeOutputs()
  }, 120_000)
})

describe.runIf(process.platform === 'linux')('a read that blocks', () => {
  const pack = (input: string): string[] => ['pack', input, '-t', tokenizer, '-o', at('silent.pbin'), '--quiet']

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const)('of a pipe ends at %s', async name => {
    const stopped = await stop(open(pack('-'), 'pipe'), name, 1500)
    expect(stopped).toMatchObject({ code: 128 + constants.signals[name] })
    expect(stopped!.err).not.toContain('Debugger')
    expect(stopped!.endMs).toBeLessThan(3000)
  })

  it.each([
    ['with a writer', fileConstants.O_RDWR],
    ['without a writer', undefined],
  ])('of a named pipe %s ends at SIGTERM', async (_what, flags) => {
    const fifo = at('fifo')
    rmSync(fifo, { force: true })
    execFileSync('mkfifo', [fifo])
    const writer = flags === undefined ? undefined : openSync(fifo, flags)
    const stopped = await stop(open(pack(fifo)), 'SIGTERM', 1500)
    if (writer !== undefined) closeSync(writer)
    expect(stopped).toMatchObject({ code: 143 })
    expect(stopped!.endMs).toBeLessThan(3000)
  })

  it('of a tokenizer is avoided: a tokenizer must be a regular file', async () => {
    const fifo = at('tokenizer-fifo')
    execFileSync('mkfifo', [fifo])
    const { code, err } = await penstock(['pack', lines, '-t', fifo, '-o', at('silent.pbin'), '--quiet'])
    expect(code).toBe(1)
    expect(err).toContain('[FILE_UNREADABLE]')
  })
})

describe('SIGUSR1 while the command loads', () => {
  it.each([20, 40, 60, 80, 120])('ends the process after %i ms instead of starting the debugger', async delay => {
    const stopped = await stop(open(['pack', '-', '-t', tokenizer, '-o', at('usr1.pbin')], 'pipe'), 'SIGUSR1', delay)
    expect(stopped).toSatisfy(
      (found: Stopped | undefined) => found?.code === 128 + constants.signals.SIGUSR1 || found?.signal === 'SIGUSR1',
    )
    expect(stopped!.endMs).toBeLessThan(3000)
  })
})
