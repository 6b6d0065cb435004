/** Serves a dashboard of run logs until a signal arrives, and follows the logs of runs in progress. */
import { basename, resolve } from 'node:path'
import { type Dashboard, serveDashboard } from '../../monitoring/dashboard/dashboard-server.js'
import type { RunHistory } from '../../monitoring/dashboard/run-history.js'
import { openRunLog, type RunLog } from '../../monitoring/dashboard/run-log.js'
import { printOutput } from '../output/print.js'
import { stopSignal } from '../output/signals.js'

const POLL_INTERVAL_MS = 1000

/** @throws FILE_MISSING, FILE_UNREADABLE, JSON_INVALID */
export async function viewRuns(paths: readonly string[], port: number): Promise<void> {
  const logs: RunLog[] = []
  for (const path of paths) {
    const log = await openRunLog(path)
    disambiguate(log.history, path, logs)
    logs.push(log)
  }
  const stopped = stopSignal()
  const runs = logs.map(log => log.history)
  const dashboard = await serveDashboard({ port, runs, live: true })
  printOutput(`${dashboard.address}\n`)
  await followUntil(stopped, logs, dashboard)
  await dashboard.close()
  for (const log of logs) await log.close()
}

function followUntil(stopped: AbortSignal, logs: readonly RunLog[], { feed }: Dashboard): Promise<void> {
  return new Promise((resolve, reject) => {
    const poll = async (): Promise<void> => {
      const updates = await Promise.all(logs.map(log => log.readMore()))
      if (updates.includes(true)) feed.send('resync', {})
      if (!stopped.aborted) timer = setTimeout(() => void poll().catch(reject), POLL_INTERVAL_MS)
    }
    let timer = setTimeout(() => void poll().catch(reject), POLL_INTERVAL_MS)
    stopped.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

/** Adds the folder to the name of a run whose name is taken, and a number to an id that is taken. */
function disambiguate(run: RunHistory, path: string, others: readonly RunLog[]): void {
  const info = run.info!
  const known = others.map(({ history }) => history.info!)
  const isTaken = known.some(other => other.name === info.name)
  const name = isTaken ? `${info.name} (${basename(resolve(path))})` : info.name
  const id = known.some(other => other.id === info.id) ? `${info.id}-${others.length}` : info.id
  run.info = { ...info, id, name }
}
