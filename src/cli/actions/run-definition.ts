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
import type { SampleTextEvent } from '../../training/sample-texts.js'
import type { TrainingEvent } from '../../training/training-events.js'
import { resumeLine, trainingLine } from '../output/event-lines.js'
import { ProgressPrinter, progressMode } from '../output/progress.js'
import { setExitCodeIfStopped, stopSignal } from '../output/signals.js'

export interface RunFlags {
  readonly quiet?: boolean
  readonly json?: boolean
  /** Start over instead of resuming an interrupted run. */
  readonly fresh?: boolean
  /** Port of a dashboard to serve during the run; true for any free port. */
  readonly dashboard?: number | true
}

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
    (sink, error) => printer.print(`  ${sink}: ${error.toLine()}`),
    address => printer.print(`dashboard: ${address}`),
  )
  const monitor = new RunMonitor(monitoredRun(definition, pipelines), sinks)
  const sequenceLength = sequenceLengthOf(pipelines)
  const signal = stopSignal()
  const results: PipelineResult[] = []
  try {
    for (const pipeline of pipelines) {
      const result = await runPipeline(pipeline, {
        signal,
        resume: flags.fresh !== true,
        onResume: event =>
          printer.print(flags.json ? JSON.stringify({ event: 'resume', ...event }) : resumeLine(event)),
        onProgress: progress => {
          printer.show(progress)
          monitor.progress(progress)
        },
        onReport: (stage, event) => {
          const metrics = fromTraining(event as TrainingEvent | SampleTextEvent, Date.now(), sequenceLength)
          if (metrics !== undefined) monitor.log(metrics)
          onEvent(stage, event)
          const line = flags.json ? JSON.stringify({ stage, event }) : trainingLine(event)
          if (line !== undefined) printer.print(line)
        },
      })
      printer.finish(result)
      results.push(result)
    }
  } catch (error) {
    const stopped = error instanceof PenstockError && error.code === 'STOPPED'
    await monitor.end(stopped ? 'stopped' : 'failed', error instanceof Error ? error.message : String(error))
    throw error
  }
  await monitor.end(signal.aborted ? 'stopped' : 'done')
  setExitCodeIfStopped()
  return results
}
