/** Runs a definition for a command: checks all of it before the first stage opens anything, then pipeline by pipeline. */
import { checkDefinition } from '../pipelines/check.js'
import type { Definition } from '../pipelines/definition.js'
import { type PipelineResult, runPipeline } from '../pipelines/run.js'
import { ProgressPrinter, progressMode } from './progress.js'
import { setExitCodeIfStopped, stopSignal } from './terminal.js'
import { trainingLine } from './training-lines.js'

export interface RunFlags {
  readonly quiet?: boolean
  readonly json?: boolean
}

export async function runDefinition(definition: Definition, flags: RunFlags = {}): Promise<PipelineResult[]> {
  const pipelines = checkDefinition(definition)
  const printer = new ProgressPrinter(progressMode(flags))
  const signal = stopSignal()
  const results: PipelineResult[] = []
  for (const pipeline of pipelines) {
    const result = await runPipeline(pipeline, {
      signal,
      onProgress: progress => printer.show(progress),
      onReport: (stage, event) => {
        const line = flags.json ? JSON.stringify({ stage, event }) : trainingLine(event)
        if (line !== undefined) printer.print(line)
      },
    })
    printer.finish(result)
    results.push(result)
  }
  setExitCodeIfStopped()
  return results
}
