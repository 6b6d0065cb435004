/**
 * A run as an offline W&B run folder, which `wandb sync` uploads. Mode `online` runs that program as a separate process
 * after each checkpoint and at the end: if it fails, the folder is still complete and can be uploaded later.
 */
import { closeSync, existsSync, openSync, readdirSync, readSync, rmSync, truncateSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { BLOCK_BYTES, readRun, WandbFileEncoder } from '../../formats/wandb-file.js'
import type { RunEvent, RunInfo, RunOutcome } from '../run-event.js'
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
  let info: RunInfo | undefined
  let run: WandbRunFolder | undefined
  // Opened late, because a run that resumes from a checkpoint says so after its start.
  const open = (): WandbRunFolder | undefined => {
    if (info !== undefined) run ??= new WandbRunFolder(options, info, undefined, fail)
    return run
  }
  return {
    log(event) {
      switch (event.kind) {
        case 'run-start':
          info = event.run
          break
        case 'resume':
          if (info !== undefined) run ??= new WandbRunFolder(options, info, event, fail)
          break
        case 'metrics':
          open()?.addValues(event.step, event.time, event.values)
          break
        case 'checkpoint':
          open()?.upload()
          break
        case 'run-end':
          open()?.end(event.outcome, event.time)
          break
        default:
      }
    },
    close: async () => run?.close(),
    closeTimeoutMs: 1000 * options.upload_seconds + 10_000,
  }
}

type ResumeEvent = Extract<RunEvent, { kind: 'resume' }>

class WandbRunFolder {
  private readonly options: WandbOptions
  private readonly startedAt: number
  private readonly encoder: WandbFileEncoder
  private readonly file: LogFile
  private readonly uploader: WandbUpload | undefined
  /** All values of a step form one row, even if they arrive in several events. */
  private row: { step: number; time: number; values: Record<string, number> } | undefined
  private outcome: RunOutcome | undefined
  private readonly summary: Record<string, unknown>

  /** A resumed run continues the file of the run that it resumes, if there is one, after the step of the checkpoint. */
  constructor(options: WandbOptions, info: RunInfo, resume: ResumeEvent | undefined, fail: (error: unknown) => void) {
    this.options = options
    const displayName = options.name ?? info.name
    const before = resume && findRun(options.folder, options.project, displayName, resume.step)
    const folder = before?.folder ?? join(options.folder, `offline-run-${compactTime(info.startedAt)}-${info.id}`)
    this.uploader = options.mode === 'online' ? new WandbUpload(folder, 1000 * options.upload_seconds) : undefined
    this.summary = { ...before?.run.summary }
    this.encoder = new WandbFileEncoder(before?.run.end)
    if (resume !== undefined && before !== undefined) {
      truncateSync(before.path, before.run.end.position)
      rmSync(`${before.path}.synced`, { force: true })
      this.startedAt = resume.time - 1000 * Number(this.summary._runtime ?? 0)
      this.file = new LogFile(before.path, { kind: 'append-bytes', beginning: ':W&B' }, fail)
      return
    }
    this.startedAt = info.startedAt
    this.file = new LogFile(join(folder, `run-${info.id}.wandb`), { kind: 'create' }, fail)
    const run = {
      id: info.id,
      project: options.project,
      ...(options.entity === undefined ? {} : { entity: options.entity }),
      displayName,
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

/** The newest run of a project and name, up to a step. */
function findRun(parent: string, project: string, name: string, step: number) {
  const folders = existsSync(parent) ? readdirSync(parent).filter(folder => folder.startsWith('offline-run-')) : []
  for (const folder of folders.toSorted().toReversed()) {
    const path = join(parent, folder, `run-${folder.split('-').at(-1)}.wandb`)
    const run = existsSync(path) ? readRun(blocksOf(path), step) : undefined
    if (run?.project === project && run.displayName === name) return { folder: join(parent, folder), path, run }
  }
  return undefined
}

function* blocksOf(path: string): Generator<Uint8Array> {
  const file = openSync(path, 'r')
  try {
    for (;;) {
      const block = new Uint8Array(BLOCK_BYTES)
      const bytesRead = readSync(file, block, 0, BLOCK_BYTES, null)
      if (bytesRead === 0) return
      yield block.subarray(0, bytesRead)
    }
  } finally {
    closeSync(file)
  }
}

/** Local time as in the folder names of the `wandb` package: 20261123_063000. */
function compactTime(ms: number): string {
  const at = new Date(ms)
  const two = (value: number): string => String(value).padStart(2, '0')
  const date = `${at.getFullYear()}${two(at.getMonth() + 1)}${two(at.getDate())}`
  return `${date}_${two(at.getHours())}${two(at.getMinutes())}${two(at.getSeconds())}`
}
