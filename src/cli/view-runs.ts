/** Run logs -> a page, served until a signal comes. */
import { basename, resolve } from 'node:path'
import { serveDashboard } from '../monitoring/dashboard-server.js'
import { readRunLog } from '../monitoring/read-log.js'
import type { RunHistory } from '../monitoring/run-history.js'
import { stopSignal } from './terminal.js'

/** @throws FILE_MISSING, FILE_UNREADABLE, JSON_INVALID */
export async function viewRuns(paths: readonly string[], port: number): Promise<void> {
  const runs: RunHistory[] = []
  for (const path of paths) runs.push(toldApart(await readRunLog(path), path, runs))
  const stopped = stopSignal()
  const dashboard = await serveDashboard({ port, runs })
  process.stdout.write(`${dashboard.address}\n`)
  await new Promise<void>(done => stopped.addEventListener('abort', () => done()))
  await dashboard.close()
}

/** Runs of one name are told apart by their folders, copies of one run by their places. */
function toldApart(run: RunHistory, path: string, others: readonly RunHistory[]): RunHistory {
  const info = run.info!
  const name = others.some(other => other.info!.name === info.name)
    ? `${info.name} (${basename(resolve(path))})`
    : info.name
  const id = others.some(other => other.info!.id === info.id) ? `${info.id}-${others.length}` : info.id
  run.info = { ...info, id, name }
  return run
}
