/**
 * Hazards of shared folders and of schedulers, which a sweep over single calls does not reach: sources named like temporary
 * files, links in their place, runs in two process namespaces, and signals at start, during a blocked read and in a step.
 */
import { execFileSync, spawn } from 'node:child_process'
import { closeSync, cpSync, existsSync, linkSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cases } from './cases.mjs'
import { END, MAIN } from './inputs.mjs'
import { empty, isTemporary, runNode, snapshot } from './sweep.mjs'

const SUFFIXES = ['part', 'scratch.part', 'lock', 'lock.stale', 'journal', 'journal.part', 'manifest', 'manifest.part']
const LIMIT_MS = 60_000
/** Time from a signal to the end of the process. Idle machines need less than 200 ms; CI machines are busy. */
const STOP_MS = 2000
/** Time until a command is certain to wait for its input. */
const START_MS = 3000
const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2']

/**
 * The hazards by name; each returns its number of attempts and its failures, or why it cannot run.
 * @type {Record<string, (world: { inputs: string, out: string, rounds: number }) => Promise<{ tried: number, failures: string[], skipped?: string }>>}
 */
export const hazards = {
  'sources named like temporary files': ({ inputs, out }) =>
    withEachSuffix(inputs, out, (command, file) => ({ source: file, command: command(file) })),
  'hard links in place of temporary files': ({ inputs, out }) => withEachLink(inputs, out, linkSync),
  'symbolic links in place of temporary files': ({ inputs, out }) => withEachLink(inputs, out, symlinkSync),
  'two namespaces': inTwoNamespaces,
  'signals at start': ({ inputs, out, rounds }) =>
    stopAtRandom(cases(inputs, out)['pack and index'], out, rounds, () => Math.random() * 400),
  'signals during a blocked read': duringBlockedRead,
  'signals in a training step': async ({ inputs, out, rounds }) => {
    const definition = join(out, '..', 'steps.yaml')
    writeFileSync(definition, longTraining(readFileSync(join(inputs, 'train.yaml'), 'utf8')))
    const args = [MAIN, 'train', definition, '--set', `folder=${join(out, 'checkpoints')}`, '--quiet']
    const ms = await durationOf({ args }, out)
    return stopAtRandom({ args }, out, rounds, () => ms * (0.2 + 0.7 * Math.random()))
  },
}

/** Steps of some ten milliseconds, one after the other: long enough to starve the event loop. */
const longTraining = text =>
  text
    .replaceAll('sequence_length: 16', 'sequence_length: 32')
    .replaceAll('batch_size: 2', 'batch_size: 4')
    .replace('width: 8', 'width: 64')
    .replace('steps: 3', 'steps: 2000')
    .replace('backend: cpu', 'backend: wasm')
    // Only the last checkpoint is the same whenever a run was stopped.
    .replace('every_steps: 1, keep: 2', 'every_steps: 500, keep: 1')

/** Commands whose output path is given; each takes the path of its source. */
function commands(inputs, out) {
  const pack = source => ['pack', source, '-t', join(inputs, 'tokenizer.json'), '--end-of-document', END]
  return {
    'c.jsonl': {
      input: 'few.jsonl',
      command: source => ['shuffle', source, '--seed', '1', '-o', join(out, 'c.jsonl')],
    },
    'p.pbin': { input: 'few.jsonl', command: source => [...pack(source), '-o', join(out, 'p.pbin')] },
    'm.pbin': { input: 'few.pbin', command: source => ['merge', source, '-o', join(out, 'm.pbin')] },
    'i.idx': { input: 'few.jsonl', command: source => ['index', source, '-o', join(out, 'i.idx')] },
  }
}

/** Runs each command with something at each temporary name: the source must stay as it is, and the output be right. */
async function withEachSuffix(inputs, out, prepare) {
  const failures = []
  let tried = 0
  for (const [output, { input, command }] of Object.entries(commands(inputs, out))) {
    const original = readFileSync(join(inputs, input))
    empty(out)
    const plain = join(out, `source-${input}`)
    cpSync(join(inputs, input), plain)
    await runNode([MAIN, ...command(plain), '--quiet'], {}, LIMIT_MS)
    const expected = readFileSync(join(out, output))
    for (const suffix of SUFFIXES) {
      tried++
      empty(out)
      // A name that ends like that of the input keeps its format recognizable.
      const file = join(out, `${output}.${suffix}`)
      cpSync(join(inputs, input), plain)
      const { source, command: args } = prepare(command, file, plain)
      if (source === file) cpSync(join(inputs, input), file)
      const { code, err } = await runNode([MAIN, ...args, '--quiet'], {}, LIMIT_MS)
      const problem =
        !hasContent(source, original) || !hasContent(plain, original)
          ? 'the source was modified'
          : code === 0 && !hasContent(join(out, output), expected)
            ? 'exit code 0 with an incorrect output'
            : code !== 0 && !/\[[A-Z_]+\]$/m.test(err)
              ? `no clear error: ${err.trim().slice(0, 200)}`
              : undefined
      if (problem !== undefined) failures.push(`${args[0]} with ${output}.${suffix}: ${problem}`)
    }
  }
  return { tried, failures }
}

const hasContent = (file, content) => existsSync(file) && readFileSync(file).equals(content)

/** As `withEachSuffix`, with links to the source under the temporary names. */
function withEachLink(inputs, out, link) {
  return withEachSuffix(inputs, out, (command, file, plain) => {
    link(plain, file)
    return { source: plain, command: command(plain) }
  })
}

/** Two runs with different tokenizers write one output, each in its own namespace, where both may have the same pid. */
async function inTwoNamespaces({ inputs, out, rounds }) {
  const skipped = missingNamespaces()
  if (skipped !== undefined) return { tried: 0, failures: [], skipped }
  empty(out)
  const source = join(out, 'corpus.jsonl')
  writeFileSync(source, readFileSync(join(inputs, 'corpus.jsonl'), 'utf8').repeat(4000))
  const output = join(out, 'o.pbin')
  const args = ['pack', source, '--workers', '1', '-o', output, '--if-exists', 'override', '--quiet']
  const run = tokenizer => {
    const command = [process.execPath, MAIN, ...args, '-t', join(inputs, tokenizer)]
    return runProgram('unshare', ['-p', '-f', '--mount-proc', ...command])
  }
  const failures = []
  for (let round = 0; round < rounds; round++) {
    const first = run('tokenizer.json')
    await sleep(500 + Math.random() * 1000)
    const results = [await run('wide.json'), await first]
    const verified = await runNode([MAIN, 'verify', output], {}, LIMIT_MS)
    if (verified.code !== 0) failures.push(`round ${round}: the output fails verification`)
    for (const { code, err } of results) {
      if (code !== 0 && !err.includes('[FILE_LOCKED]')) failures.push(`round ${round}: ${err.trim().slice(0, 200)}`)
    }
  }
  return { tried: rounds, failures }
}

function missingNamespaces() {
  if (process.getuid() !== 0) return 'requires root'
  try {
    execFileSync('unshare', ['-p', '-f', '--mount-proc', 'true'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'requires permission to create namespaces'
  }
}

/** Stops runs at random moments; the next run must complete the work. */
async function stopAtRandom({ args, before }, out, rounds, delay) {
  const prepare = () => {
    empty(out)
    before?.()
  }
  prepare()
  await runNode(args, {}, LIMIT_MS)
  const expected = snapshot(out)
  const failures = []
  for (let round = 0; round < rounds; round++) {
    const signal = STOP_SIGNALS[round % STOP_SIGNALS.length]
    prepare()
    const stopped = await runUntilSignal(args, 'ignore', delay(), signal)
    const partial = Object.entries(snapshot(out)).filter(([file]) => !isTemporary(file))
    const wrong = partial.filter(([file, hash]) => file in expected && expected[file] !== hash)
    const next = await runNode(args, {}, LIMIT_MS)
    const found = snapshot(out)
    const isSame = JSON.stringify(Object.entries(found).sort()) === JSON.stringify(Object.entries(expected).sort())
    const problem =
      stopped.problem ??
      (wrong.length > 0 ? `${wrong[0][0]} is incorrect under its final name` : undefined) ??
      (next.code !== 0 && !next.err.includes('[FILE_EXISTS]') ? `the next run fails: ${next.err.trim()}` : undefined) ??
      (isSame ? undefined : 'the next run leaves other files')
    if (problem !== undefined) failures.push(`${signal} after ${Math.round(stopped.delay)} ms: ${problem}`)
  }
  return { tried: rounds, failures }
}

async function duringBlockedRead({ inputs, out }) {
  const failures = []
  let tried = 0
  empty(out)
  const fifo = join(out, 'fifo')
  execFileSync('mkfifo', [fifo])
  const held = openSync(fifo, 'r+')
  const pack = ['-t', join(inputs, 'tokenizer.json'), '-o', join(out, 'blocked.pbin'), '--quiet']
  for (const signal of STOP_SIGNALS) {
    for (const [args, stdin] of [
      [['pack', '-', ...pack], 'pipe'],
      [['index', fifo, '-o', join(out, 'blocked.idx'), '--quiet'], 'ignore'],
    ]) {
      tried++
      const { problem } = await runUntilSignal([MAIN, ...args], stdin, START_MS, signal)
      if (problem !== undefined) failures.push(`${args[0]} ${args[1]}, ${signal}: ${problem}`)
    }
  }
  closeSync(held)
  return { tried, failures }
}

async function durationOf({ args, before }, out) {
  empty(out)
  before?.()
  const started = performance.now()
  await runNode(args, {}, LIMIT_MS)
  return performance.now() - started
}

/** Sends a signal after a delay. The process must end in time, by this signal or with its exit code, or have completed. */
function runUntilSignal(args, stdin, delay, signal) {
  return new Promise(resolve => {
    const child = spawn(process.execPath, args, { stdio: [stdin, 'ignore', 'ignore'] })
    let sentAt
    const timer = setTimeout(() => {
      sentAt = performance.now()
      child.kill(signal)
    }, delay)
    const limit = setTimeout(() => child.kill('SIGKILL'), delay + STOP_MS)
    child.on('close', (code, endedBy) => {
      clearTimeout(timer)
      clearTimeout(limit)
      const isExpected = code === 128 + constants.signals[signal] || endedBy === signal || code === 0
      const ms = sentAt === undefined ? 0 : Math.round(performance.now() - sentAt)
      const problem = isExpected ? undefined : `ended after ${ms} ms by ${endedBy ?? `exit code ${code}`}`
      resolve({ delay, problem })
    })
  })
}

function runProgram(program, args) {
  return new Promise(resolve => {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let err = ''
    child.stderr.on('data', chunk => {
      err += chunk
    })
    child.on('close', code => resolve({ code, err }))
  })
}
