/** Serves a dashboard of run logs and of plans of shards until a signal arrives, follows the logs of runs in progress, and adds new runs. */
import { existsSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { planPathOf, readPlan } from '../../cluster/plan-file.js'
import { shardsStatus } from '../../cluster/shard-status.js'
import { type Dashboard, serveDashboard } from '../../monitoring/dashboard/dashboard-server.js'
import type { PlanProgress } from '../../monitoring/dashboard/plan-progress.js'
import type { RunHistory } from '../../monitoring/dashboard/run-history.js'
import { findRunLogs, openRunLog, type RunLog } from '../../monitoring/dashboard/run-log.js'
import { printOutput } from '../output/print.js'
import { stopSignal } from '../output/signals.js'

const POLL_INTERVAL_MS = 1000
/** How often the folders are searched for new runs, and the states of shards are read. */
const SEARCH_EVERY_POLLS = 5

/** @throws FILE_MISSING, FILE_UNREADABLE, JSON_INVALID */
export async function viewRuns(paths: readonly string[], port: number): Promise<void> {
  const stopped = stopSignal()
  const view = new RunView(paths)
  await view.search()
  const dashboard = await serveDashboard({ port, runs: view.runs, plans: view.plans, live: true })
  printOutput(`${dashboard.address}\n`)
  await followUntil(stopped, view, dashboard)
  await dashboard.close()
  await view.close()
}

/** The runs and the plans of shards in the given folders; the lists grow. */
class RunView {
  readonly runs: RunHistory[] = []
  readonly plans: PlanProgress[] = []
  private readonly paths: readonly string[]
  private readonly folders = new Set<string>()
  private readonly logs = new Map<string, RunLog>()

  constructor(paths: readonly string[]) {
    this.paths = paths
  }

  /** Adds the runs that are not in the list. @throws FILE_MISSING, FILE_UNREADABLE, JSON_INVALID */
  async search(): Promise<boolean> {
    const before = this.runs.length
    for (const path of this.paths) {
      if (existsSync(planPathOf(path))) {
        this.folders.add(path)
        continue
      }
      for (const file of await findRunLogs(path)) {
        if (!this.logs.has(resolve(file))) await this.add(file)
      }
    }
    return (await this.readPlans()) || this.runs.length > before
  }

  /** @returns whether a plan has made progress. @throws FILE_MISSING, FILE_DAMAGED */
  private async readPlans(): Promise<boolean> {
    const before = JSON.stringify(this.plans)
    const folders = [...this.folders]
    const found = await Promise.all(
      folders.map(async name => ({ name, ...(await shardsStatus(name, await readPlan(name))) })),
    )
    this.plans.splice(0, this.plans.length, ...found)
    return JSON.stringify(this.plans) !== before
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
