/** `penstock shards run`: runs the shards of one task, one after the other. */
import { FAULTY_INPUT, isRetried, shardExitCode, TRY_AGAIN } from '../../../cluster/exit-codes.js'
import { type Pass, passesOf, readPlan, type ShardPlan, shardsAtOnce } from '../../../cluster/plan-file.js'
import { runShard, type ShardOutcome } from '../../../cluster/run-shard.js'
import { parseSelection, selectionFrom, shardsOf } from '../../../cluster/shard-selection.js'
import { PenstockError } from '../../../errors.js'
import { resumeLine } from '../../output/event-lines.js'
import { notify, printError } from '../../output/notices.js'
import { ProgressPrinter, progressMode } from '../../output/progress.js'
import { stopExitCode, stopSignal } from '../../output/signals.js'
import { count, duration, quantity } from '../../output/terminal.js'

export interface RunShardsFlags {
  readonly shard?: string
  readonly pass?: number
  readonly stopWithParent?: boolean
  readonly quiet?: boolean
  readonly json?: boolean
}

/** Runs all shards of the task in spite of failures, and sets the exit code of the most retriable one. */
export async function runShards(folder: string, flags: RunShardsFlags): Promise<void> {
  const plan = await readPlan(folder)
  const given = flags.shard === undefined ? selectionFrom(process.env, shardsAtOnce(plan)) : parseSelection(flags.shard)
  const selection = given ?? { index: 0, count: 1 }
  const shards = passesFrom(plan, flags.pass).flatMap(pass => shardsOf(selection, pass))
  const signal = flags.stopWithParent ? AbortSignal.any([stopSignal(), parentSignal()]) : stopSignal()
  const printer = new ProgressPrinter(progressMode(flags))
  const exitCodes: number[] = []
  for (const shard of shards) {
    try {
      const outcome = await runShard(folder, plan, shard, {
        signal,
        verify: async (path, options) => (await import('../verify.js')).damagesOf(path, options),
        onProgress: progress => printer.show(progress),
        onResume: event =>
          printer.print(flags.json ? JSON.stringify({ event: 'resume', shard, ...event }) : resumeLine(event)),
      })
      if (!flags.quiet) announce(shard, outcome)
    } catch (error) {
      printer.print('')
      printError(error)
      exitCodes.push(shardExitCode(error))
      if (signal.aborted) break
    }
  }
  if (exitCodes.length > 0) process.exitCode = stopExitCode() ?? exitCodeOfTask(exitCodes)
}

/** @param pass its number, from 1; by default all passes, one after the other. @throws ARGUMENT_INVALID */
function passesFrom(plan: ShardPlan, pass: number | undefined): readonly Pass[] {
  const passes = passesOf(plan)
  if (pass === undefined) return passes
  const found = passes[pass - 1]
  if (found !== undefined) return [found]
  throw new PenstockError('ARGUMENT_INVALID', `the plan has ${quantity(passes.length, 'pass')}, found --pass ${pass}`)
}

/** A task is retried when one of its shards is: those that are complete are left out then. */
function exitCodeOfTask(codes: readonly number[]): number {
  if (codes.some(isRetried)) return TRY_AGAIN
  return codes.includes(FAULTY_INPUT) ? FAULTY_INPUT : codes[0]!
}

function announce(shard: number, { kind, record }: ShardOutcome): void {
  const { rejected, elapsedMs, outputs } = record
  const faults = rejected > 0 ? `, ${count(rejected)} rejected` : ''
  const time = kind === 'kept' ? 'complete before' : `done in ${duration(elapsedMs)}`
  notify(`shard ${shard}: ${sizeText(record)}${faults}, ${time}`, {
    event: 'shard',
    shard,
    kind,
    outputs,
    rejected,
    elapsedMs,
  })
}

function sizeText({ outputs: [first], files }: ShardOutcome['record']): string {
  if (files !== undefined) return `${quantity(files, 'file')} verified`
  if (first === undefined) return 'no documents'
  const { documents = 0, tokens = 0, records, words } = first
  if (words !== undefined) return `${count(words)} distinct words`
  return records === undefined ? `${count(documents)} documents, ${count(tokens)} tokens` : `${count(records)} records`
}

/** Fires when standard input closes, which it does when the process that started this one is gone. */
function parentSignal(): AbortSignal {
  const abort = new AbortController()
  process.stdin.once('end', () => abort.abort())
  process.stdin.once('error', () => abort.abort())
  process.stdin.resume()
  // Does not keep the process alive.
  ;(process.stdin as unknown as { unref?(): void }).unref?.()
  return abort.signal
}
