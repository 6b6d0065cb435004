/** Runs a definition for a command: validates all of it before opening any file, then runs its pipelines in order. */
import { PenstockError } from '../../errors.js'
import { openSinks } from '../../monitoring/open-sinks.js'
import { RunMonitor } from '../../monitoring/run-monitor.js'
import { checkDefinition } from '../../pipelines/check.js'
import type { Definition } from '../../pipelines/definition.js'
import { monitoredRun, sequenceLengthOf } from '../../pipelines/monitored-run.js'
import { type PipelineResult, runPipeline } from '../../pipelines/run.js'
import { checkMonitoring } from '../../pipelines/sinks.js'
import { fromTraining } from '../../pipelines/training-metrics.js'
import type { SampleTextEvent } from '../../training/generation/sample-texts.js'
import type { TrainingEvent } from '../../training/training-events.js'
import { isFinishedBefore, resumeLine, trainingLine } from '../output/event-lines.js'
import { describeError } from '../output/notices.js'
import { ProgressPrinter, progressMode } from '../output/progress.js'
import { setExitCodeIfStopped, stopSignal } from '../output/signals.js'
import { keptOutputs } from './kept-outputs.js'

export interface RunFlags {
  readonly quiet?: boolean
  readonly json?: boolean
  /** Start over instead of resuming an interrupted run. */
  readonly fresh?: boolean
  /** Port of a dashboard to serve during the run; true for any free port. */
  readonly dashboard?: number | true
}

const jsonOf = (event: string, facts: object): string => JSON.stringify({ event, ...facts })

/** @param onEvent receives the events of the stages, such as training steps, in addition to their being printed */
export async function runDefinition(
  definition: Definition,
  flags: RunFlags = {},
  onEvent: (stage: string, event: unknown) => void = () => {},
): Promise<PipelineResult[]> {
  const pipelines = checkDefinition(definition)
  const checked = checkMonitoring(definition, pipelines)
  const printer = new ProgressPrinter(progressMode(flags))
  const monitoring =
    flags.dashboard === undefined
      ? checked
      : { ...checked, dashboard: { port: flags.dashboard === true ? 0 : flags.dashboard } }
  const sinks = await openSinks(
    monitoring,
    (sink, error) =>
      printer.print(
        flags.json ? jsonOf('sink-error', { sink, ...describeError(error) }) : `  ${sink}: ${error.toLine()}`,
      ),
    address => printer.print(flags.json ? jsonOf('dashboard', { address }) : `dashboard: ${address}`),
  )
  const monitor = new RunMonitor(monitoredRun(definition, pipelines), sinks)
  const sequenceLength = sequenceLengthOf(pipelines)
  const signal = stopSignal()
  const results: PipelineResult[] = []
  try {
    for (const pipeline of pipelines) {
      const kept = await keptOutputs(pipeline)
      if (kept !== undefined) {
        const { name } = pipeline
        const text = `${name}: nothing to do, ${kept.join(' and ')} already ${kept.length === 1 ? 'exists' : 'exist'}`
        monitor.log({ kind: 'note', time: Date.now(), message: text })
        printer.print(flags.json ? jsonOf('skipped', { pipeline: name, outputs: kept }) : text)
        continue
      }
      let isIdle = false
      const result = await runPipeline(pipeline, {
        signal,
        resume: flags.fresh !== true,
        onResume: event => printer.print(flags.json ? jsonOf('resume', event) : resumeLine(event)),
        onProgress: progress => {
          printer.show(progress)
          monitor.progress(progress)
        },
        onReport: (stage, event) => {
          const metrics = fromTraining(event as TrainingEvent | SampleTextEvent, Date.now(), sequenceLength)
          if (metrics !== undefined) monitor.log(metrics)
          onEvent(stage, event)
          isIdle ||= isFinishedBefore(event)
          const line = flags.json ? JSON.stringify({ stage, event }) : trainingLine(event)
          if (line !== undefined) printer.print(line)
        },
      })
      printer.finish(result, isIdle)
      results.push(result)
    }
  } catch (error) {
    printer.fail()
    const stopped = error instanceof PenstockError && error.code === 'STOPPED'
    await monitor.end(stopped ? 'stopped' : 'failed', error instanceof Error ? error.message : String(error))
    throw error
  }
  await monitor.end(signal.aborted ? 'stopped' : 'done')
  setExitCodeIfStopped()
  return results
}
