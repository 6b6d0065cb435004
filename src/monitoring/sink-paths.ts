/** Where each sink of a run writes: the path that it was given, or its place in the run folder. */
import { join, normalize } from 'node:path'
import type { MonitoringOptions } from './options.js'
import { LOG_NAME } from './sinks/jsonl-log.js'

/** The single files that sinks write, by the sinks' names. */
export function sinkFiles({ folder, jsonl, prometheus, trace, results }: MonitoringOptions) {
  // A path through a folder that is not there yet must not lead around the check for files in use.
  const at = (path: string | undefined, name: string): string => normalize(path ?? join(folder, name))
  return {
    ...(jsonl && { jsonl: at(jsonl.path, LOG_NAME) }),
    ...(prometheus && { prometheus: at(prometheus.path, 'metrics.prom') }),
    ...(trace && { trace: at(trace.path, 'trace.json') }),
    ...(results && { results: at(results.path, 'results.jsonl') }),
  }
}

/** The folders of sinks that make files with names of their own. */
export function sinkFolders({ folder, tensorboard, wandb }: MonitoringOptions) {
  return {
    ...(tensorboard && { tensorboard: tensorboard.folder ?? join(folder, 'tensorboard') }),
    ...(wandb && { wandb: wandb.folder ?? join(folder, 'wandb') }),
  }
}
