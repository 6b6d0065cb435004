/** Workers that only write. The setup says how often a worker exits in the middle of a chunk. */
import { workerData } from 'node:worker_threads'
import { workerFunction } from '#src/workers/worker-function'
import { writeChunk as writeChunkOf } from '#src/workers/write-chunk'

const deaths = new Int32Array(workerData.deaths)

export const writeChunk = workerFunction((task, heartbeat) => {
  const reply = writeChunkOf(task, heartbeat)
  if (Atomics.sub(deaths, 0, 1) > 0) process.exit(1)
  return reply
})
