/**
 * Worker for full jq: receives lines, runs the filter on all of them in one call, and replies. A filter may be any
 * program, so each call is announced on the heartbeat.
 */
import { createRequire } from 'node:module'
import { workerData } from 'node:worker_threads'
import { PenstockError } from '../errors.js'
import type { FirstOutput } from '../formats/extract.js'
import { type Heartbeat, WHOLE_TASK } from './heartbeat.js'
import { JQ_PRELUDE } from './jq-prelude.js'
import type { RetryMode } from './poison-records.js'
import { workerFunction } from './worker-function.js'

export interface JqSetup {
  readonly filter: string
}

export interface JqTask {
  /** Each is one JSON value. */
  readonly lines: readonly string[]
  /** Records are the lines. */
  readonly retry: RetryMode
}

interface JqWeb {
  /** Undefined when the program produced no output. */
  raw(text: string, filter: string, flags: readonly string[]): string | undefined
}

const { filter } = workerData as JqSetup
// One line per record: an array with the first output, or an object with the failure.
const wrapped = `${JQ_PRELUDE}try [first((${filter}\n))] catch {failure: tostring}`
const jq = await loadJq().catch((error: unknown) => error as PenstockError)

/** Throws PEER_MISSING without the package, OPTION_INVALID for an invalid filter. */
export const checkFilter = workerFunction((_: undefined, heartbeat: Heartbeat): void => {
  heartbeat.begin(WHOLE_TASK, 0)
  try {
    run([])
  } catch (error) {
    if (error instanceof PenstockError) throw error
    const reason = reasonOf(error)
    throw new PenstockError('OPTION_INVALID', `invalid jq filter ${filter}: ${reason}`, { path: 'field' }, error)
  }
})

/** The first output for each line. */
export const firstOutputs = workerFunction(({ lines, retry }: JqTask, heartbeat: Heartbeat): readonly FirstOutput[] => {
  if (!retry.isolateRecords) {
    heartbeat.begin(WHOLE_TASK, lines.length * CALL_COST_BYTES + lines.reduce((sum, line) => sum + line.length, 0))
    return runOn(lines)
  }
  return lines.map((line, record) => {
    const poison = retry.poison.find(found => found.record === record)
    if (poison !== undefined) return { failure: poison.message, code: poison.code }
    heartbeat.begin(record, line.length)
    return runOn([line])[0]!
  })
})

/** Cost of a jq call per record, in bytes of input that take equally long. */
const CALL_COST_BYTES = 1000

function runOn(lines: readonly string[]): readonly FirstOutput[] {
  if (lines.length === 0) return []
  let outputs: string[]
  try {
    outputs = run(lines)
  } catch (error) {
    if (!isJqFailure(error)) throw error
    // Bisect, so that a record that halts the program or that jq cannot parse does not affect the others.
    if (lines.length === 1) return [{ failure: reasonOf(error) }]
    const middle = lines.length >> 1
    return [...runOn(lines.slice(0, middle)), ...runOn(lines.slice(middle))]
  }
  if (outputs.length === lines.length && outputs.every(output => output !== '')) return outputs.map(parseOutcome)
  throw new PenstockError('OPTION_INVALID', `filter ${filter} must not read further inputs (input, inputs)`, {
    path: 'field',
  })
}

/** @throws PEER_MISSING; jq's own error, with an exit code; anything else when jq itself crashed */
function run(lines: readonly string[]): string[] {
  if (jq instanceof PenstockError) throw jq
  const output = jq.raw(lines.join('\n'), wrapped, ['-c']) ?? ''
  return output.split('\n').slice(0, lines.length)
}

function parseOutcome(line: string): FirstOutput {
  const found = JSON.parse(line) as [unknown?] | { readonly failure: string }
  return Array.isArray(found) ? { output: found[0] } : found
}

async function loadJq(): Promise<JqWeb> {
  try {
    // `import` does not work: the package exports a promise, and a module with a `then` cannot be imported.
    return await (createRequire(import.meta.url)('jq-web') as Promise<JqWeb>)
  } catch (error) {
    const message = `filter ${filter} needs the optional package jq-web: npm install jq-web`
    throw new PenstockError('PEER_MISSING', message, { path: 'field' }, error)
  }
}

/** Whether jq reported an error. After anything else, such as exhausted memory, jq is unusable and the worker exits. */
function isJqFailure(error: unknown): boolean {
  return typeof (error as { exitCode?: unknown }).exitCode === 'number'
}

/** First line of jq's error message, without its hint about shell quoting. */
function reasonOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string }
  const first = (stderr ?? message).split('\n')[0]!
  return first.replace(/^jq: (parse )?error: /, '').replace(/ \(Unix shell quoting issues\?\)/, '')
}
