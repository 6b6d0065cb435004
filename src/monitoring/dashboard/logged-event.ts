/** Parses a line of a run log. A log may be edited, truncated or another kind of file, so its events are validated. */
import * as z from 'zod'
import type { RunEvent } from '../run-event.js'

const graph = z
  .object({
    name: z.string(),
    nodes: z.array(
      z.object({ id: z.int(), name: z.string(), detail: z.string(), layer: z.int().min(0), row: z.int().min(0) }),
    ),
    edges: z.array(z.object({ from: z.int().min(0), to: z.int().min(0), items: z.string() })),
  })
  .refine(({ nodes, edges }) => edges.every(({ from, to }) => from < nodes.length && to < nodes.length))
const stats = z.object({
  itemsIn: z.number(),
  itemsOut: z.number(),
  bytesIn: z.number(),
  bytesOut: z.number(),
  recordsIn: z.number(),
  recordsOut: z.number(),
  rejected: z.number(),
  waitedForInputMs: z.number(),
  waitedForOutputMs: z.number(),
  state: z.enum(['idle', 'working', 'waiting for input', 'waiting for output', 'ended']),
  counts: z.record(z.string(), z.number().nullable()),
  notes: z.array(z.string()),
})
const snapshot = z.object({
  pipeline: z.string(),
  stages: z.array(z.object({ name: z.string(), stats })),
  elapsedMs: z.number(),
})
const time = z.number()
const step = z.number()
const durationMs = z.number()

/** All events but `metrics`, which is by far the most frequent one and is checked without a schema. */
const others = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('run-start'),
    time,
    run: z.object({
      id: z.string(),
      name: z.string(),
      startedAt: z.number(),
      config: z.record(z.string(), z.unknown()),
      pipelines: z.array(graph),
    }),
  }),
  z.object({ kind: z.literal('progress'), time, snapshot }),
  z.object({ kind: z.literal('checkpoint'), time, step, path: z.string(), durationMs }),
  z.object({ kind: z.literal('resume'), time, step, path: z.string() }),
  z.object({ kind: z.literal('sample'), time, step, text: z.string() }),
  z.object({ kind: z.literal('note'), time, message: z.string() }),
  z.object({
    kind: z.literal('run-end'),
    time,
    outcome: z.enum(['done', 'failed', 'stopped']),
    message: z.string().optional(),
  }),
])

/** Undefined for a line that is not an event of a run. */
export function parseLoggedEvent(line: string): RunEvent | undefined {
  let found: unknown
  try {
    found = JSON.parse(line)
  } catch {
    return undefined
  }
  if (isRecord(found) && found.kind === 'metrics') return metricsEvent(found)
  return others.safeParse(found).data as RunEvent | undefined
}

function metricsEvent(found: Record<string, unknown>): RunEvent | undefined {
  const { time, step, durationMs = 0, totalSteps, values, nonFinite = {} } = found
  if (typeof time !== 'number' || typeof step !== 'number' || typeof durationMs !== 'number') return undefined
  if (!isRecord(values) || !isRecord(nonFinite)) return undefined
  const restored: Record<string, number> = {}
  for (const [name, value] of Object.entries(values)) {
    const number = value === null ? Number(nonFinite[name] ?? Number.NaN) : value
    if (typeof number !== 'number') return undefined
    restored[name] = number
  }
  return {
    kind: 'metrics',
    time,
    step,
    durationMs,
    values: restored,
    ...(typeof totalSteps === 'number' && { totalSteps }),
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
