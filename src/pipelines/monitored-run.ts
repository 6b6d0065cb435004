/** Describes the run of a definition to its monitoring sinks. */
import type { MonitoredRun } from '../monitoring/run-monitor.js'
import { allSteps, type CheckedPipeline, type CheckedStep } from './check.js'
import type { Definition } from './definition.js'
import { runningGraphOf } from './graph.js'
import { runName } from './sinks.js'

export function monitoredRun(definition: Definition, pipelines: readonly CheckedPipeline[]): MonitoredRun {
  const steps = pipelines.flatMap(({ chain }) => allSteps(chain))
  return { name: runName(definition), config: configOf(steps), pipelines: pipelines.map(runningGraphOf) }
}

/** Sequence length of the model that the pipelines train; undefined if they train none. */
export function sequenceLengthOf(pipelines: readonly CheckedPipeline[]): number | undefined {
  const steps = pipelines.flatMap(({ chain }) => allSteps(chain))
  const model = steps.find(step => step.name === 'feed-trainer')?.options.model
  return (model as { sequence_length: number } | undefined)?.sequence_length
}

/** Options of every stage, by name; the second stage of the same name is `name 2`. */
function configOf(steps: readonly CheckedStep[]): Record<string, unknown> {
  const config: Record<string, unknown> = {}
  for (const { name, options } of steps) {
    let key = name
    for (let number = 2; Object.hasOwn(config, key); number++) key = `${name} ${number}`
    config[key] = options
  }
  return config
}
