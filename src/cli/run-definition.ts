/** Runs a definition for a command: checks all of it before the first stage opens anything, then pipeline by pipeline. */
import { PenstockError } from '../errors.js'
import { openSinks } from '../monitoring/open-sinks.js'
import { RunMonitor } from '../monitoring/run-monitor.js'
import { allSteps, type CheckedPipeline, checkDefinition } from '../pipelines/check.js'
import type { Definition } from '../pipelines/definition.js'
import { graphOf } from '../pipelines/graph.js'
import { type PipelineResult, runPipeline } from '../pipelines/run.js'
import { checkMonitoring, runName } from '../pipelines/sinks.js'
import { ProgressPrinter, progressMode } from './progress.js'
import { setExitCodeIfStopped, stopSignal } from './terminal.js'
import { trainingLine } from './training-lines.js'

export interface RunFlags {
  readonly quiet?: boolean
  readonly json?: boolean
  /** The port of a page to serve while the run goes on; true takes any free one. */
  readonly dashboard?: number | true
}

/** @param onEvent is told what stages report, such as training steps, beside the printing of it */
export async function runDefinition(
  definition: Definition,
  flags: RunFlags = {},
  onEvent: (stage: string, event: unknown) => void = () => {},
): Promise<PipelineResult[]> {
  const pipelines = checkDefinition(definition)
  const checked = checkMonitoring(definition)
  const printer = new ProgressPrinter(progressMode(flags))
  const monitoring =
    flags.dashboard === undefined
      ? checked
      : { ...checked, dashboard: { port: flags.dashboard === true ? 0 : flags.dashboard } }
  const sinks = await openSinks(
    monitoring,
    (sink, error) => printer.print(`  ${sink}: ${error.toLine()}`),
    address => printer.print(`the page of this run: ${address}`),
  )
  const monitor = new RunMonitor(monitoredRun(definition, pipelines), sinks)
  const signal = stopSignal()
  const results: PipelineResult[] = []
  try {
    for (const pipeline of pipelines) {
      const result = await runPipeline(pipeline, {
        signal,
        onProgress: progress => {
          printer.show(progress)
          monitor.progress(progress)
        },
        onReport: (stage, event) => {
          monitor.report(event)
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

function monitoredRun(definition: Definition, pipelines: readonly CheckedPipeline[]) {
  const steps = pipelines.flatMap(({ chain }) => allSteps(chain))
  const trained = steps.find(step => step.name === 'feed-trainer')?.options.model as
    | { sequence_length: number }
    | undefined
  return {
    name: runName(definition),
    config: configOf(steps),
    pipelines: pipelines.map(graphOf),
    sequenceLength: trained?.sequence_length,
  }
}

/** The options of every stage by its name; the second of a name is `name 2`. */
function configOf(steps: ReturnType<typeof allSteps>): Record<string, unknown> {
  const config: Record<string, unknown> = {}
  for (const { name, options } of steps) {
    let key = name
    for (let number = 2; Object.hasOwn(config, key); number++) key = `${name} ${number}`
    config[key] = options
  }
  return config
}
