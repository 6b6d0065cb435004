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
const FRESH = ['--fresh', '--quiet']
const COMMANDS: Record<string, string[]> = {
  pack: ['pack', lines, '-t', tokenizer, '-o', at('out.pbin'), ...FRESH],
  'pack with a filter': ['pack', lines, '-t', tokenizer, '-o', at('out.pbin'), '--field', '.text | trim', ...FRESH],
  index: ['index', lines, '-o', at('out.idx'), ...FRESH],
  shuffle: ['shuffle', lines, '-o', at('out.jsonl'), ...FRESH],
  merge: ['merge', packed, packed, '-o', at('out.pbin'), ...FRESH],
  filter: ['filter', packed, '-o', at('out.pbin'), '--min-tokens', '5', ...FRESH],
  'train-tokenizer': ['train-tokenizer', lines, '-o', at('out.json'), '--vocab-size', '2000', ...FRESH],
  verify: ['verify', packed],
  inspect: ['inspect', packed],
  stages: ['stages'],
}
const removeOutputs = (): void => {
  for (const name of ['out.pbin', 'out.idx', 'out.jsonl', 'out.json']) rmSync(at(name), { force: true })
}

beforeAll(async () => {
  writeFileSync(tokenizer, JSON.stringify(byteTokenizer()))
  const text = Array.from({ length: 60_000 }, (_, line) => JSON.stringify({ text: ` line ${line * 7919} of a text ` }))
  writeFileSync(lines, `${text.join('\n')}\n`)
  expect(await penstock(['pack', lines, '-t', tokenizer, '-o', packed, '--quiet'])).toMatchObject({ code: 0 })
})

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

describe.each(Object.entries(COMMANDS))('%s', (_name, args) => {
  it('stops within 200 ms of SIGTERM at random moments', async () => {
    removeOutputs()
    const started = performance.now()
    expect(await penstock(args, folder)).toMatchObject({ code: 0 })
    const duration = performance.now() - started
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
