/**
 * Timeline of stages and training steps as Chrome trace JSON, for ui.perfetto.dev or chrome://tracing. The track of each
 * stage shows what took most of each interval: work, waiting for input, or waiting for output. Steps, evaluations and
 * checkpoints have separate tracks.
 */

import type { PipelineSnapshot, RunEvent, StageCounts } from '../run-event.js'
import { LogFile } from './log-file.js'
import type { MetricSink } from './sink.js'

/** Before the first event and before each later one. */
const SEPARATORS = { first: '[\n', later: ',\n' } as const
/** Of every trace: the first event names the process. */
const BEGINNING = `${SEPARATORS.first}{"pid":1,"ph":"M","name":"process_name"`

type Activity = 'working' | 'waiting for input' | 'waiting for output'

/** Current activity of a stage; a new slice begins when it changes. */
interface Track {
  readonly id: number
  activity: Activity | undefined
  since: number
  until: number
  waitedForInputMs: number
  waitedForOutputMs: number
}

export function traceSink(path: string, fail: (error: unknown) => void): MetricSink {
  const trace = new TraceWriter(new LogFile(path, { kind: 'replace', beginning: BEGINNING }, fail))
  return { log: event => trace.add(event), close: () => trace.close() }
}

class TraceWriter {
  private readonly file: LogFile
  private readonly tracks = new Map<string, Track>()
  private readonly named = new Map<string, number>()
  private startedAt = 0
  private pipeline = ''
  private separator: string = SEPARATORS.first

  constructor(file: LogFile) {
    this.file = file
  }

  add(event: RunEvent): void {
    switch (event.kind) {
      case 'run-start':
        this.startedAt = event.time
        this.write({ ph: 'M', name: 'process_name', args: { name: `penstock ${event.run.name}` } })
        break
      case 'progress':
        this.addSnapshot(event.snapshot, event.time)
        break
      case 'metrics': {
        const track = Object.keys(event.values)[0]?.startsWith('held_out/') ? 'evaluation' : 'training step'
        this.addSlice(track, `step ${event.step}`, event.time, event.durationMs, event.values)
        break
      }
      case 'checkpoint':
        this.addSlice('checkpoint', `step ${event.step}`, event.time, event.durationMs, { path: event.path })
        break
      default:
    }
  }

  async close(): Promise<void> {
    this.endSlices()
    this.file.write(this.separator === SEPARATORS.first ? `${SEPARATORS.first}]\n` : '\n]\n')
    await this.file.close()
  }

  private addSnapshot({ pipeline, stages }: PipelineSnapshot, time: number): void {
    if (pipeline !== this.pipeline) this.endSlices()
    this.pipeline = pipeline
    for (const [position, { name, stats }] of stages.entries()) {
      const key = `${pipeline}: ${position + 1} ${name}`
      const track = this.tracks.get(key)
      if (track === undefined) this.tracks.set(key, this.newTrack(key, stats, time))
      else this.extend(track, stats, time)
    }
  }

  private newTrack(key: string, stats: StageCounts, time: number): Track {
    const { waitedForInputMs, waitedForOutputMs } = stats
    return { id: this.trackId(key), activity: undefined, since: time, until: time, waitedForInputMs, waitedForOutputMs }
  }

  private extend(track: Track, stats: StageCounts, time: number): void {
    const waitedIn = stats.waitedForInputMs - track.waitedForInputMs
    const waitedOut = stats.waitedForOutputMs - track.waitedForOutputMs
    const activity = activityOf(stats, waitedIn, waitedOut, time - track.until)
    if (activity !== track.activity) {
      this.writeSlice(track)
      track.activity = activity
      track.since = track.until
    }
    track.until = time
    track.waitedForInputMs = stats.waitedForInputMs
    track.waitedForOutputMs = stats.waitedForOutputMs
  }

  private endSlices(): void {
    for (const track of this.tracks.values()) this.writeSlice(track)
    this.tracks.clear()
  }

  private writeSlice({ id, activity, since, until }: Track): void {
    if (activity === undefined || until <= since) return
    this.write({ ph: 'X', name: activity, tid: id, ts: this.micros(since), dur: Math.round((until - since) * 1000) })
  }

  private addSlice(track: string, name: string, end: number, durationMs: number, args: unknown): void {
    const tid = this.trackId(track)
    this.write({ ph: 'X', name, tid, ts: this.micros(end - durationMs), dur: Math.round(durationMs * 1000), args })
  }

  private trackId(name: string): number {
    const known = this.named.get(name)
    if (known !== undefined) return known
    const id = this.named.size + 1
    this.named.set(name, id)
    this.write({ ph: 'M', name: 'thread_name', tid: id, args: { name } })
    return id
  }

  private micros(time: number): number {
    return Math.max(0, Math.round((time - this.startedAt) * 1000))
  }

  private write(event: Record<string, unknown>): void {
    this.file.write(`${this.separator}${JSON.stringify({ pid: 1, ...event })}`)
    this.separator = SEPARATORS.later
  }
}

/** The sums do not include a wait in progress, so the state is used when they show none. */
function activityOf(stats: StageCounts, waitedIn: number, waitedOut: number, elapsed: number): Activity | undefined {
  if (waitedIn > elapsed / 2) return 'waiting for input'
  if (waitedOut > elapsed / 2) return 'waiting for output'
  if (stats.state === 'ended' || stats.state === 'idle') return undefined
  return waitedIn + waitedOut > 0 ? 'working' : stats.state
}
