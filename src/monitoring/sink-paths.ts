/** Output paths of the sinks of a run: the configured path, or the default in the run folder. */
import { join, normalize } from 'node:path'
import type { MonitoringOptions } from './options.js'
import { LOG_NAME } from './sinks/jsonl-log.js'

/** Output files of the sinks that write a single file, by sink. */
export function sinkFiles({ folder, jsonl, prometheus, trace, results }: MonitoringOptions) {
  // Normalized, so that a path through a folder that does not exist yet cannot bypass the check for files in use.
  const at = (path: string | undefined, name: string): string => normalize(path ?? join(folder, name))
  return {
    ...(jsonl && { jsonl: at(jsonl.path, LOG_NAME) }),
    ...(prometheus && { prometheus: at(prometheus.path, 'metrics.prom') }),
    ...(trace && { trace: at(trace.path, 'trace.json') }),
    ...(results && { results: at(results.path, 'results.jsonl') }),
  }
}

/** Output folders of the sinks that choose their own file names, by sink. */
export function sinkFolders({ folder, tensorboard, wandb }: MonitoringOptions) {
  return {
    ...(tensorboard && { tensorboard: tensorboard.folder ?? join(folder, 'tensorboard') }),
    ...(wandb && { wandb: wandb.folder ?? join(folder, 'wandb') }),
  }
}
