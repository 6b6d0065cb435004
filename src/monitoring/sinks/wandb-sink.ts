/**
 * A run as an offline W&B run folder, which `wandb sync` uploads. Mode `online` runs that program as a separate process
 * after each checkpoint and at the end: if it fails, the folder is still complete and can be uploaded later.
 */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { WandbFileEncoder } from '../../formats/wandb-file.js'
import type { RunInfo, RunOutcome } from '../run-event.js'
import { LogFile } from './log-file.js'
import { metricName, type NameScheme } from './metric-names.js'
import type { MetricSink } from './sink.js'
import { WandbUpload } from './wandb-upload.js'

export interface WandbOptions {
  readonly folder: string
  readonly project: string
  readonly entity?: string | undefined
  readonly name?: string | undefined
  readonly mode: 'offline' | 'online'
  readonly names: NameScheme
  /** Timeout of an upload. */
  readonly upload_seconds: number
}

/** Version of the `wandb` package whose file format this is. */
const PRODUCER = '0.31.0'

const EXIT_CODES: Readonly<Record<RunOutcome, number>> = { done: 0, failed: 1, stopped: 130 }

export function wandbSink(options: WandbOptions, fail: (error: unknown) => void): MetricSink {
  let run: WandbRunFolder | undefined
  return {
    log(event) {
      switch (event.kind) {
        case 'run-start':
          run = new WandbRunFolder(options, event.run, fail)
          break
        case 'metrics':
          run?.addValues(event.step, event.time, event.values)
          break
        case 'checkpoint':
          run?.upload()
          break
        case 'run-end':
          run?.end(event.outcome, event.time)
          break
        default:
      }
    },
    close: async () => run?.close(),
    closeTimeoutMs: 1000 * options.upload_seconds + 10_000,
  }
}

class WandbRunFolder {
  private readonly options: WandbOptions
  private readonly startedAt: number
  private readonly encoder = new WandbFileEncoder()
  private readonly file: LogFile
  private readonly uploader: WandbUpload | undefined
  /** All values of a step form one row, even if they arrive in several events. */
  private row: { step: number; time: number; values: Record<string, number> } | undefined
  private outcome: RunOutcome | undefined
  private readonly summary: Record<string, unknown> = {}

  constructor(options: WandbOptions, info: RunInfo, fail: (error: unknown) => void) {
    this.options = options
    this.startedAt = info.startedAt
    const folder = join(options.folder, `offline-run-${compactTime(info.startedAt)}-${info.id}`)
    this.file = new LogFile(join(folder, `run-${info.id}.wandb`), { kind: 'create' }, fail)
    this.uploader = options.mode === 'online' ? new WandbUpload(folder, 1000 * options.upload_seconds) : undefined
    const run = {
      id: info.id,
      project: options.project,
      ...(options.entity === undefined ? {} : { entity: options.entity }),
      displayName: options.name ?? info.name,
      host: hostname(),
      startTime: info.startedAt,
      config: info.config,
    }
    this.file.write(this.encoder.start(run, PRODUCER))
  }

  addValues(step: number, time: number, values: Readonly<Record<string, number>>): void {
    if (this.row !== undefined && this.row.step !== step) this.writeRow()
    this.row ??= { step, time, values: {} }
    for (const [name, value] of Object.entries(values)) this.row.values[metricName(name, this.options.names)] = value
  }

  /** Uploads the data so far; the next upload sends the rest. */
  upload(): void {
    this.writeRow()
    const { uploader } = this
    if (uploader !== undefined) void this.file.flushed().then(() => uploader.start())
  }

  end(outcome: RunOutcome, time: number): void {
    this.outcome = outcome
    this.writeRow()
    const seconds = Math.max(0, time - this.startedAt) / 1000
    const summary = { ...this.summary, _wandb: { runtime: Math.round(seconds) } }
    this.file.write(this.encoder.end(summary, EXIT_CODES[outcome], Math.round(seconds)))
  }

  async close(): Promise<void> {
    await this.file.close()
    if (this.outcome === 'stopped') await this.uploader?.abandon()
    else await this.uploader?.finish()
  }

  private writeRow(): void {
    if (this.row === undefined) return
    const { step, time, values } = this.row
    const row = { ...values, _step: step, _runtime: (time - this.startedAt) / 1000, _timestamp: time / 1000 }
    Object.assign(this.summary, row)
    this.file.write(this.encoder.history(step, row))
    this.row = undefined
  }
}

/** Local time as in the folder names of the `wandb` package: 20261123_063000. */
function compactTime(ms: number): string {
  const at = new Date(ms)
  const two = (value: number): string => String(value).padStart(2, '0')
  const date = `${at.getFullYear()}${two(at.getMonth() + 1)}${two(at.getDate())}`
  return `${date}_${two(at.getHours())}${two(at.getMinutes())}${two(at.getSeconds())}`
}
