/** The page of the run that goes on: keeps its history, serves it, and tells open pages what is new. */

import type { RunEvent } from '../run-event.js'
import { PrometheusState } from '../sinks/prometheus.js'
import type { MetricSink } from '../sinks/sink.js'
import { serveDashboard } from './dashboard-server.js'
import { RunHistory } from './run-history.js'

/** Pages are told of the stages' counts at most this often. */
const FLOW_EVERY_MS = 500

export async function dashboardSink(port: number, onAddress: (address: string) => void): Promise<MetricSink> {
  const history = new RunHistory()
  const metrics = new PrometheusState()
  const { address, feed, close } = await serveDashboard({ port, runs: [history], live: true, metrics })
  onAddress(address)
  let lastFlow = 0
  const tell = (event: RunEvent): void => {
    const run = history.info?.id
    if (event.kind === 'metrics') feed.send('metrics', { run, step: event.step, values: event.values })
    else if (event.kind !== 'progress') feed.send('run', history.summary())
    else if (event.time - lastFlow >= FLOW_EVERY_MS) {
      lastFlow = event.time
      feed.send('flow', { run, ...history.pipelineState(event.snapshot.pipeline) })
    }
  }
  return {
    log(event) {
      history.add(event)
      metrics.add(event)
      if (feed.hasPages) tell(event)
    },
    close,
  }
}
