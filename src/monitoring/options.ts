/**
 * Options of the `monitoring` key of a definition: one entry per sink, each a map of options, or `true` or null for the
 * defaults. Default paths are relative to `folder`.
 */
import * as z from 'zod'

const path = z.string().min(1)
const names = z
  .enum(['penstock', 'modalities'])
  .default('penstock')
  .describe('naming scheme of metrics: that of Penstock or that of Modalities')

const jsonl = z.strictObject({ path: path.optional().describe('path of the log; default log.jsonl in the run folder') })
const tensorboard = z.strictObject({
  folder: path.optional().describe('folder of the event files; default tensorboard in the run folder'),
  names,
})
const wandb = z.strictObject({
  project: z.string().min(1).default('penstock').describe('W&B project'),
  entity: z.string().min(1).optional().describe('W&B user or team'),
  name: z.string().min(1).optional().describe('name of the run; default the name of the definition'),
  mode: z
    .enum(['offline', 'online'])
    .default('offline')
    .describe('online uploads the run with wandb sync after each checkpoint and at the end; offline only writes files'),
  upload_seconds: z.number().positive().default(60).describe('timeout of an upload, in seconds'),
  folder: path.optional().describe('parent of the W&B run folders; default wandb in the run folder'),
  names,
})
const prometheus = z.strictObject({
  path: path.optional().describe('file for the textfile collector; default metrics.prom in the run folder'),
})
const trace = z.strictObject({
  path: path.optional().describe('path of the Chrome trace JSON; default trace.json in the run folder'),
})

const results = z.strictObject({
  path: path
    .optional()
    .describe('file of results in the format of to_disc of Modalities; default results.jsonl in the run folder'),
})
const dashboard = z.strictObject({
  port: z.int().min(0).max(65_535).default(0).describe('port of the dashboard; 0 selects a free one'),
})

/** Schemas of the sinks, by their names in a definition. */
export const sinkSchemas = {
  jsonl: jsonl.describe('log of the run as JSON lines, for penstock view'),
  tensorboard: tensorboard.describe('TensorBoard event files'),
  wandb: wandb.describe('W&B run folder, uploaded if mode is online'),
  prometheus: prometheus.describe('Prometheus text, for the textfile collector of node_exporter'),
  trace: trace.describe('timeline of stages and steps as a Chrome trace, for ui.perfetto.dev'),
  results: results.describe('results in the format of Modalities'),
  dashboard: dashboard.describe('live dashboard of the run, on the loopback interface only; also serves /metrics'),
} as const
export type SinkName = keyof typeof sinkSchemas

export type SinkOptions = { readonly [Name in SinkName]?: z.output<(typeof sinkSchemas)[Name]> }

export interface MonitoringOptions extends SinkOptions {
  /** Run folder. */
  readonly folder: string
}
