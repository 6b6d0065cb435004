/** Scalars as a TensorBoard event file, a new one per start; TensorBoard merges the files of a folder by step. */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { tfeventsScalars, tfeventsStart } from '../../formats/tfevents.js'
import { LogFile } from './log-file.js'
import { metricName, type NameScheme } from './metric-names.js'
import type { MetricSink } from './sink.js'

export interface TensorboardOptions {
  readonly folder: string
  readonly names: NameScheme
}

export function tensorboardSink({ folder, names }: TensorboardOptions, fail: (error: unknown) => void): MetricSink {
  const seconds = Math.floor(Date.now() / 1000)
  const path = join(folder, `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.0`)
  const file = new LogFile(path, 'new', fail)
  file.write(tfeventsStart(seconds))
  return {
    log(event) {
      if (event.kind !== 'metrics') return
      const scalars = Object.entries(event.values).map(([name, value]) => [metricName(name, names), value] as const)
      file.write(tfeventsScalars(event.time / 1000, event.step, scalars))
    },
    close: () => file.close(),
  }
}
