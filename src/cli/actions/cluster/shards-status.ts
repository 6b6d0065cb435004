/** `penstock shards status`: the state of all shards, for people or as JSON. */
import { readPlan } from '../../../cluster/plan-file.js'
import { type ActiveShard, type ShardsStatus, shardsStatus } from '../../../cluster/shard-status.js'
import { printOutput } from '../../output/print.js'
import { bytes, count, duration } from '../../output/terminal.js'

/** Shards that the text lists; `--json` has all. */
const MAX_LISTED = 40

/** @throws FILE_MISSING, FILE_DAMAGED */
export async function printShardsStatus(folder: string, flags: { readonly json?: boolean }): Promise<void> {
  const status = await shardsStatus(folder, await readPlan(folder))
  printOutput(flags.json ? `${JSON.stringify(status)}\n` : `${statusLines(status).join('\n')}\n`)
}

function statusLines(status: ShardsStatus): string[] {
  const { shards, counts, active } = status
  const states = Object.entries(counts).filter(([state, number]) => number > 0 || state === 'done')
  const percent = Math.floor((100 * status.doneBytes) / Math.max(1, status.bytes))
  const totals = [
    `${percent} % of ${bytes(status.bytes)}`,
    ...(status.documents > 0 ? [`${count(status.documents)} documents`, `${count(status.tokens)} tokens`] : []),
    ...(status.records > 0 ? [`${count(status.records)} records`] : []),
    ...(status.rejected > 0 ? [`${count(status.rejected)} rejected`] : []),
    ...(status.leftMs === undefined ? [] : [`about ${duration(status.leftMs)} left`]),
    ...(status.filtered > 0 ? [`${count(status.filtered)} filtered`] : []),
  ]
  const listed = [...active].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state)).slice(0, MAX_LISTED)
  const more = active.length - listed.length
  return [
    `${count(shards)} shards: ${states.map(([state, number]) => `${count(number)} ${state}`).join(', ')}`,
    totals.join(', '),
    ...listed.map(activeLine),
    ...(more > 0 ? [`... and ${count(more)} more; --json lists all`] : []),
  ]
}

const ORDER: readonly ActiveShard['state'][] = ['failed', 'lost', 'retry', 'running']

function activeLine({ shard, state, process, share, error }: ActiveShard): string {
  const parts = [
    `shard ${shard}: ${state}`,
    ...(share === undefined ? [] : [`${Math.floor(100 * share)} %`]),
    ...(process === undefined ? [] : [process]),
    ...(error === undefined || state === 'running'
      ? []
      : [`exit code ${error.exitCode} on ${error.host}: ${error.message}`]),
  ]
  return `  ${parts.join(', ')}`
}
