/** Serves a dashboard of run logs until a signal arrives, follows the logs of runs in progress, and adds new runs. */
import { basename, dirname, resolve } from 'node:path'
import { type Dashboard, serveDashboard } from '../../monitoring/dashboard/dashboard-server.js'
import type { RunHistory } from '../../monitoring/dashboard/run-history.js'
import { findRunLogs, openRunLog, type RunLog } from '../../monitoring/dashboard/run-log.js'
import { printOutput } from '../output/print.js'
import { stopSignal } from '../output/signals.js'

const POLL_INTERVAL_MS = 1000
/** How often the folders are searched for new runs. */
const SEARCH_EVERY_POLLS = 5

/** @throws FILE_MISSING, FILE_UNREADABLE, JSON_INVALID */
export async function viewRuns(paths: readonly string[], port: number): Promise<void> {
  const stopped = stopSignal()
  const view = new RunView(paths)
  await view.search()
  const dashboard = await serveDashboard({ port, runs: view.runs, live: true })
  printOutput(`${dashboard.address}\n`)
  await followUntil(stopped, view, dashboard)
  await dashboard.close()
  await view.close()
}

/** The runs in the given folders; the list grows. */
class RunView {
  readonly runs: RunHistory[] = []
  private readonly paths: readonly string[]
  private readonly logs = new Map<string, RunLog>()

  constructor(paths: readonly string[]) {
    this.paths = paths
  }

  /** Adds the runs that are not in the list. @throws FILE_MISSING, FILE_UNREADABLE, JSON_INVALID */
  async search(): Promise<boolean> {
    const before = this.runs.length
    for (const path of this.paths) {
      for (const file of await findRunLogs(path)) {
        if (!this.logs.has(resolve(file))) await this.add(file)
      }
    }
    return this.runs.length > before
  }

  async readMore(): Promise<boolean> {
    const updates = await Promise.all([...this.logs.values()].map(log => log.readMore()))
    return updates.includes(true)
  }

  async close(): Promise<void> {
    for (const log of this.logs.values()) await log.close()
  }

  private async add(file: string): Promise<void> {
    const log = await openRunLog(file)
    disambiguate(log.history, dirname(resolve(file)), this.runs)
    this.logs.set(resolve(file), log)
    this.runs.push(log.history)
  }
}

function followUntil(stopped: AbortSignal, view: RunView, { feed }: Dashboard): Promise<void> {
  return new Promise((resolve, reject) => {
    let polls = 0
    const poll = async (): Promise<void> => {
      const hasMore = await view.readMore()
      // A new log may be incomplete, and a folder may be gone: both are tried again later.
      const hasNew = ++polls % SEARCH_EVERY_POLLS === 0 && (await view.search().catch(() => false))
      if (hasMore || hasNew) feed.send('resync', {})
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
function disambiguate(run: RunHistory, folder: string, others: readonly RunHistory[]): void {
  const info = run.info!
  const known = others.map(other => other.info!)
  const isTaken = known.some(other => other.name === info.name)
  const name = isTaken ? `${info.name} (${basename(folder)})` : info.name
  const id = known.some(other => other.id === info.id) ? `${info.id}-${others.length}` : info.id
  run.info = { ...info, id, name }
}
