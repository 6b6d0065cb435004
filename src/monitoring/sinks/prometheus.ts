/**
 * A run as Prometheus text: the last value of each metric and the counts of each stage. Served by the dashboard at
 * `/metrics`, and written to a file for the textfile collector of node_exporter.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { PipelineSnapshot, RunEvent, RunInfo } from '../run-event.js'
import { requireOwnLog } from './log-file.js'
import type { MetricSink } from './sink.js'

type Labels = Readonly<Record<string, string>>

interface Family {
  readonly help: string
  readonly type: 'counter' | 'gauge'
  readonly samples: { readonly labels: Labels; readonly value: number }[]
}

/** Of every file: its first metric is the start of the run. */
const BEGINNING = '# HELP penstock_start_time_seconds '

/** Minimum interval between two writes of the file. */
const WRITE_EVERY_MS = 2000

/** Latest state of a run, rendered on demand. */
export class PrometheusState {
  private run: RunInfo | undefined
  private step = 0
  private readonly values = new Map<string, number>()
  private readonly snapshots = new Map<string, PipelineSnapshot>()

  add(event: RunEvent): void {
    if (event.kind === 'run-start') this.run = event.run
    if (event.kind === 'progress') this.snapshots.set(event.snapshot.pipeline, event.snapshot)
    if (event.kind !== 'metrics') return
    this.step = event.step
    for (const [name, value] of Object.entries(event.values)) this.values.set(name, value)
  }

  /** The text exposition format, version 0.0.4. */
  text(): string {
    if (this.run === undefined) return ''
    const run = { run: this.run.name, run_id: this.run.id }
    const families = new Map<string, Family>()
    const add = (name: string, type: Family['type'], help: string, value: number, labels: Labels = {}): void => {
      const family = families.get(name) ?? { help, type, samples: [] }
      family.samples.push({ labels: { ...run, ...labels }, value })
      families.set(name, family)
    }
    add('penstock_start_time_seconds', 'gauge', 'When the run started.', this.run.startedAt / 1000)
    if (this.values.size > 0) add('penstock_step', 'gauge', 'Completed training steps.', this.step)
    for (const [name, value] of this.values) {
      add(`penstock_${name.replaceAll(/[^a-zA-Z0-9]+/g, '_')}`, 'gauge', `The last value of ${name}.`, value)
    }
    for (const { pipeline, stages } of this.snapshots.values()) {
      for (const [position, { name, stats }] of stages.entries()) {
        const labels = { pipeline, stage: name, position: String(position) }
        add('penstock_stage_records_in_total', 'counter', 'Records received by the stage.', stats.recordsIn, labels)
        add('penstock_stage_records_out_total', 'counter', 'Records emitted by the stage.', stats.recordsOut, labels)
        add('penstock_stage_rejected_total', 'counter', 'Records rejected as faulty.', stats.rejected, labels)
        add('penstock_stage_bytes_in_total', 'counter', 'Bytes received by the stage.', stats.bytesIn, labels)
        add('penstock_stage_bytes_out_total', 'counter', 'Bytes emitted by the stage.', stats.bytesOut, labels)
        const waited = 'Time spent waiting for the previous stage (input) or the next one (output).'
        const [input, output] = [stats.waitedForInputMs / 1000, stats.waitedForOutputMs / 1000]
        add('penstock_stage_waited_seconds_total', 'counter', waited, input, { ...labels, for: 'input' })
        add('penstock_stage_waited_seconds_total', 'counter', waited, output, { ...labels, for: 'output' })
      }
    }
    return Array.from(families, familyText).join('')
  }
}

/** Replaces a `.prom` file atomically, so that a collector never reads a partial one. @throws FILE_EXISTS, FILE_UNWRITABLE */
export function prometheusSink(path: string, fail: (error: unknown) => void): MetricSink {
  const state = new PrometheusState()
  let lastWrite = 0
  let writing = Promise.resolve()
  mkdirSync(dirname(path), { recursive: true })
  requireOwnLog(path, BEGINNING)
  const write = (): void => {
    writing = writing
      .then(async () => {
        // Exclusively and under a name of its own: never through a link, never over another file.
        const part = `${path}.${randomUUID().slice(0, 8)}.part`
        try {
          await writeFile(part, state.text(), { flag: 'wx' })
          await rename(part, path)
        } catch (error) {
          await rm(part, { force: true })
          throw error
        }
      })
      .catch(fail)
  }
  return {
    log(event) {
      state.add(event)
      if (event.time - lastWrite < WRITE_EVERY_MS) return
      lastWrite = event.time
      write()
    },
    close: async () => {
      write()
      await writing
    },
  }
}

function familyText([name, { help, type, samples }]: [string, Family]): string {
  const lines = samples.map(({ labels, value }) => `${name}{${labelsText(labels)}} ${numberText(value)}\n`)
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`
}

function labelsText(labels: Labels): string {
  return Object.entries(labels)
    .map(
      ([name, value]) => `${name}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`,
    )
    .join(',')
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value)
  if (Number.isNaN(value)) return 'NaN'
  return value > 0 ? '+Inf' : '-Inf'
}
