/** Live dashboard of a run: keeps its history, serves it, and pushes events to open pages. */

import type { RunEvent } from '../run-event.js'
import { PrometheusState } from '../sinks/prometheus.js'
import type { MetricSink } from '../sinks/sink.js'
import { serveDashboard } from './dashboard-server.js'
import { RunHistory } from './run-history.js'

/** Minimum interval between two updates of the counts of stages. */
const FLOW_EVERY_MS = 500

export async function dashboardSink(port: number, onAddress: (address: string) => void): Promise<MetricSink> {
  const history = new RunHistory()
  const metrics = new PrometheusState()
  const { address, feed, close } = await serveDashboard({ port, runs: [history], live: true, metrics })
  onAddress(address)
  let lastFlow = 0
  const push = (event: RunEvent): void => {
    const run = history.info?.id
    if (event.kind === 'metrics') {
      const { step, values, totalSteps } = event
      feed.send('metrics', { run, step, values, totalSteps, elapsedMs: history.elapsedMs })
    } else if (event.kind !== 'progress') feed.send('run', history.summary())
    else if (event.time - lastFlow >= FLOW_EVERY_MS) {
      lastFlow = event.time
      feed.send('flow', { run, ...history.pipelineState(event.snapshot.pipeline) })
    }
  }
  return {
    log(event) {
      history.add(event)
      metrics.add(event)
      if (feed.hasPages) push(event)
    },
    close,
  }
}
