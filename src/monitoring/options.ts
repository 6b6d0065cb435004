/**
 * What a definition's `monitoring` key may hold: one entry a sink, each a map of options; `true` or nothing takes the
 * defaults. Paths that are left out lie in `folder`.
 */
import * as z from 'zod'

const path = z.string().min(1)
const names = z
  .enum(['penstock', 'modalities'])
  .default('penstock')
  .describe('what metrics are called: as here, or as in the reference system')

const jsonl = z.strictObject({ path: path.optional().describe('the log; log.jsonl in the run folder when absent') })
const tensorboard = z.strictObject({
  folder: path.optional().describe('for event files; tensorboard in the run folder when absent'),
  names,
})
const wandb = z.strictObject({
  project: z.string().min(1).default('penstock').describe('the W&B project'),
  entity: z.string().min(1).optional().describe('the W&B user or team'),
  name: z.string().min(1).optional().describe('what the run is called; the name of the definition when absent'),
  mode: z
    .enum(['offline', 'online'])
    .default('offline')
    .describe('online hands the files to wandb sync after each checkpoint and at the end'),
  upload_seconds: z.number().positive().default(60).describe('how long the end of a run waits for its upload'),
  folder: path.optional().describe('for run folders; wandb in the run folder when absent'),
  names,
})
const prometheus = z.strictObject({
  path: path.optional().describe('a file for a text collector; metrics.prom in the run folder when absent'),
})
const trace = z.strictObject({
  path: path.optional().describe('Chrome trace JSON; trace.json in the run folder when absent'),
})

const results = z.strictObject({
  path: path
    .optional()
    .describe("results as the reference's to_disc writes them; results.jsonl in the run folder when absent"),
})
const dashboard = z.strictObject({
  port: z.int().min(0).max(65_535).default(0).describe('of the page; 0 takes any free one'),
})

/** The sinks, by their names in a definition. */
export const sinkSchemas = {
  jsonl: jsonl.describe('a log of the whole run as JSON lines, which penstock view opens'),
  tensorboard: tensorboard.describe('TensorBoard event files'),
  wandb: wandb.describe('a W&B run folder, uploaded when mode is online'),
  prometheus: prometheus.describe('Prometheus text, for the text collector of a node exporter'),
  trace: trace.describe('stages and steps on a time line, for ui.perfetto.dev'),
  results: results.describe('results as the reference system writes them'),
  dashboard: dashboard.describe('a page about the run while it goes on, on this machine only; has /metrics too'),
} as const
export type SinkName = keyof typeof sinkSchemas

export type SinkOptions = { readonly [Name in SinkName]?: z.output<(typeof sinkSchemas)[Name]> }

export interface MonitoringOptions extends SinkOptions {
  /** The run folder. */
  readonly folder: string
}
