/**
 * The worker's side of the whole jq language: receive lines, run the filter on all of them in one call, reply. The filter
 * may be any program, so each call shows on the heartbeat what it is at.
 */
import { createRequire } from 'node:module'
import { workerData } from 'node:worker_threads'
import { PenstockError } from '../errors.js'
import type { FirstOutput } from '../formats/extract.js'
import { type Heartbeat, WHOLE_TASK } from './heartbeat.js'
import type { RetryMode } from './poison-records.js'
import { workerFunction } from './worker-function.js'

export interface JqSetup {
  readonly filter: string
}

export interface JqTask {
  /** Each is one JSON value. */
  readonly lines: readonly string[]
  /** Pieces are the lines. */
  readonly retry: RetryMode
}

interface JqWeb {
  /** Undefined when the program put out nothing. */
  raw(text: string, filter: string, flags: readonly string[]): string | undefined
}

const { filter } = workerData as JqSetup
// The first output of each record in a list, or its failure: one line for each record, whatever the filter does.
const wrapped = `try [first((${filter}\n))] catch {failure: tostring}`
const jq = await loadJq().catch((error: unknown) => error as PenstockError)

/** Throws PEER_MISSING without the package, OPTION_INVALID for what is no filter. */
export const checkFilter = workerFunction((_: undefined, heartbeat: Heartbeat): void => {
  heartbeat.begin(WHOLE_TASK, 0)
  try {
    run([])
  } catch (error) {
    if (error instanceof PenstockError) throw error
    const reason = reasonOf(error)
    throw new PenstockError('OPTION_INVALID', `${filter} is no jq filter: ${reason}`, { path: 'field' }, error)
  }
})

/** One answer for each line. */
export const firsts = workerFunction(({ lines, retry }: JqTask, heartbeat: Heartbeat): readonly FirstOutput[] => {
  if (!retry.isolateRecords) {
    heartbeat.begin(WHOLE_TASK, lines.length * BYTES_FOR_A_CALL + lines.reduce((sum, line) => sum + line.length, 0))
    return firstsOf(lines)
  }
  return lines.map((line, piece) => {
    const poison = retry.poison.find(found => found.piece === piece)
    if (poison !== undefined) return { failure: poison.message, code: poison.code }
    heartbeat.begin(piece, line.length)
    return firstsOf([line])[0]!
  })
})

/** A record takes as long as so many bytes of it, however short it is. */
const BYTES_FOR_A_CALL = 1000

function firstsOf(lines: readonly string[]): readonly FirstOutput[] {
  if (lines.length === 0) return []
  let outputs: string[]
  try {
    outputs = run(lines)
  } catch (error) {
    if (!isJqFailure(error)) throw error
    // A record that ends the program, or that jq does not read, must not cost the others.
    if (lines.length === 1) return [{ failure: reasonOf(error) }]
    const middle = lines.length >> 1
    return [...firstsOf(lines.slice(0, middle)), ...firstsOf(lines.slice(middle))]
  }
  if (outputs.length === lines.length && outputs.every(output => output !== '')) return outputs.map(outcomeOf)
  throw new PenstockError('OPTION_INVALID', `${filter} reads other records than its own`, { path: 'field' })
}

/** @throws PEER_MISSING; what jq says, with its exit code; anything else when jq itself broke */
function run(lines: readonly string[]): string[] {
  if (jq instanceof PenstockError) throw jq
  const output = jq.raw(lines.join('\n'), wrapped, ['-c']) ?? ''
  return output.split('\n').slice(0, lines.length)
}

function outcomeOf(line: string): FirstOutput {
  const found = JSON.parse(line) as [unknown?] | { readonly failure: string }
  return Array.isArray(found) ? { output: found[0] } : found
}

async function loadJq(): Promise<JqWeb> {
  try {
    // Not by `import`: the package exports a promise, and a module with a `then` cannot be imported.
    return await (createRequire(import.meta.url)('jq-web') as Promise<JqWeb>)
  } catch (error) {
    const message = `the filter ${filter} needs the whole jq language: npm install jq-web`
    throw new PenstockError('PEER_MISSING', message, { path: 'field' }, error)
  }
}

/** Whether jq said no. Anything else, such as exhausted memory, leaves a broken jq: the worker ends with it. */
function isJqFailure(error: unknown): boolean {
  return typeof (error as { exitCode?: unknown }).exitCode === 'number'
}

/** What jq says, without its help for shells. */
function reasonOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string }
  const first = (stderr ?? message).split('\n')[0]!
  return first.replace(/^jq: (parse )?error: /, '').replace(/ \(Unix shell quoting issues\?\)/, '')
}
