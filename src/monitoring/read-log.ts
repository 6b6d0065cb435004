/** Reads the JSON log of a past run back into a history. */
import { createReadStream, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { PenstockError, toPenstockError } from '../errors.js'
import { LOG_NAME } from './jsonl-log.js'
import type { RunEvent } from './run-event.js'
import { RunHistory } from './run-history.js'

type LoggedEvent = RunEvent & { readonly nonFinite?: Readonly<Record<string, string>> }

/** @param path a run folder, or a log. @throws FILE_MISSING, FILE_UNREADABLE */
export async function readRunLog(path: string): Promise<RunHistory> {
  const stats = statSync(path, { throwIfNoEntry: false })
  const file = stats?.isDirectory() ? join(path, LOG_NAME) : path
  if (statSync(file, { throwIfNoEntry: false }) === undefined) {
    const message = 'no log of a run; give the definition monitoring: { jsonl: true }'
    throw new PenstockError('FILE_MISSING', message, { file })
  }
  const history = new RunHistory()
  let number = 0
  let damaged: number | undefined
  try {
    for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
      number++
      if (damaged !== undefined)
        throw new PenstockError('JSON_INVALID', 'no line of a run log', { file, line: damaged })
      // A run that was killed leaves half a line at its end.
      if (!addLine(history, line)) damaged = number
    }
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file })
  }
  if (history.info === undefined) throw new PenstockError('JSON_INVALID', 'the log does not begin with a run', { file })
  return history
}

function addLine(history: RunHistory, line: string): boolean {
  try {
    const event = JSON.parse(line) as LoggedEvent
    history.add(event.kind === 'metrics' ? { ...event, values: allValues(event) } : event)
    return true
  } catch {
    return false
  }
}

function allValues({ values, nonFinite = {} }: Extract<LoggedEvent, { kind: 'metrics' }>): Record<string, number> {
  const others = Object.entries(nonFinite).map(([name, value]) => [name, Number(value)] as const)
  return { ...values, ...Object.fromEntries(others) }
}
