/** Run logs -> a page, served until a signal comes. Runs that still go on are followed. */
import { basename, resolve } from 'node:path'
import { type Dashboard, serveDashboard } from '../../monitoring/dashboard/dashboard-server.js'
import type { RunHistory } from '../../monitoring/dashboard/run-history.js'
import { openRunLog, type RunLog } from '../../monitoring/dashboard/run-log.js'
import { stopSignal } from '../output/terminal.js'

const LOOK_EVERY_MS = 1000

/** @throws FILE_MISSING, FILE_UNREADABLE, JSON_INVALID */
export async function viewRuns(paths: readonly string[], port: number): Promise<void> {
  const logs: RunLog[] = []
  for (const path of paths) {
    const log = await openRunLog(path)
    tellApart(log.history, path, logs)
    logs.push(log)
  }
  const stopped = stopSignal()
  const runs = logs.map(log => log.history)
  const dashboard = await serveDashboard({ port, runs, live: true })
  process.stdout.write(`${dashboard.address}\n`)
  await followUntil(stopped, logs, dashboard)
  await dashboard.close()
  for (const log of logs) await log.close()
}

function followUntil(stopped: AbortSignal, logs: readonly RunLog[], { feed }: Dashboard): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = async (): Promise<void> => {
      const news = await Promise.all(logs.map(log => log.readMore()))
      if (news.includes(true)) feed.send('resync', {})
      if (!stopped.aborted) timer = setTimeout(() => void look().catch(reject), LOOK_EVERY_MS)
    }
    let timer = setTimeout(() => void look().catch(reject), LOOK_EVERY_MS)
    stopped.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

/** Runs of one name are told apart by their folders, copies of one run by their places. */
function tellApart(run: RunHistory, path: string, others: readonly RunLog[]): void {
  const info = run.info!
  const known = others.map(({ history }) => history.info!)
  const isNamed = known.some(other => other.name === info.name)
  const name = isNamed ? `${info.name} (${basename(resolve(path))})` : info.name
  const id = known.some(other => other.id === info.id) ? `${info.id}-${others.length}` : info.id
  run.info = { ...info, id, name }
}
