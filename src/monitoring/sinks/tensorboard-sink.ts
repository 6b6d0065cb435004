/**
 * Scalars as a TensorBoard event file, a new one per start. TensorBoard merges the files of a folder by step; the start of a
 * session makes it drop the steps that a killed run logged after its last checkpoint, which the resumed run logs again.
 */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { tfeventsScalars, tfeventsSessionStart, tfeventsStart } from '../../formats/tfevents.js'
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
  const file = new LogFile(path, { kind: 'create' }, fail)
  file.write(tfeventsStart(seconds))
  let isStarted = false
  const startSession = (time: number, step: number): void => {
    isStarted = true
    file.write(tfeventsSessionStart(time / 1000, step))
  }
  return {
    log(event) {
      if (event.kind === 'resume') startSession(event.time, event.step + 1)
      if (event.kind !== 'metrics') return
      if (!isStarted) startSession(event.time, 0)
      const scalars = Object.entries(event.values).map(([name, value]) => [metricName(name, names), value] as const)
      file.write(tfeventsScalars(event.time / 1000, event.step, scalars))
    },
    close: () => file.close(),
  }
}
