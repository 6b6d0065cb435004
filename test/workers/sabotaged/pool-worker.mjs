/** Worker functions that return their thread's id. Each started thread appends a line to the file in its setup. */
import { appendFileSync } from 'node:fs'
import { threadId, workerData } from 'node:worker_threads'
import { workerFunction } from '#src/workers/worker-function'

if (workerData !== null) appendFileSync(workerData.starts, `${threadId}\n`)

export const thread = workerFunction(() => threadId)
export const pause = workerFunction(milliseconds => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)
  return threadId
})
export const loop = workerFunction(() => {
  for (;;);
})
