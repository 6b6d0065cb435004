/**
 * Throughput of feeding torch ranks: from a packed file through the trainer's loop and the sockets to ranks that
 * discard everything. The ranks are Node.js processes, without Python. Needs a build: `npx jiti bench/feed.ts [ranks]`.
 */
import { spawn } from 'node:child_process'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { encodePbinHeader } from '#src/formats/pbin'
import { feedTrainer } from '#src/stages/feed-trainer'
import { shuffleSamples } from '#src/stages/samples/shuffle-samples'

const ranks = Number(process.argv[2] ?? 1)
const [sequence_length, batch_size, steps] = [1024, 32, 400]

/** Fake rank: sends hello, then answers each frame with `done` at once. */
const rank = `
  import { connect } from 'node:net'
  import { encodeFrame, FrameDecoder } from '#src/training/torch/frames'
  const [path, rank, worldSize] = process.argv.slice(1)
  const decoder = new FrameDecoder()
  const socket = connect(path)
  const send = header => encodeFrame(header, new Uint8Array(0)).forEach(piece => socket.write(piece))
  send({ kind: 'hello', rank: Number(rank), worldSize: Number(worldSize), localWorldSize: Number(worldSize), deviceName: '' })
  socket.on('data', chunk => {
    for (const { header } of decoder.push(chunk)) {
      if (header.kind === 'close') process.exit()
      send({ kind: 'done', loss: 1, gradientNorm: 1, memory: 0 })
    }
  })
`

const folder = await mkdtemp(join(tmpdir(), 'penstock-bench-'))
process.env.PENSTOCK_FEED = join(folder, 'feed')
try {
  // A sparse file with space for 10^9 samples.
  const path = join(folder, 'sparse.pbin')
  const dataBytes = 2 * (1e9 * sequence_length + 1)
  const file = await open(path, 'w')
  await file.write(encodePbinHeader({ dataBytes, tokenBytes: 2 }))
  await file.truncate(12 + dataBytes + 100)
  await file.close()
  const root = fileURLToPath(new URL('..', import.meta.url))
  for (let index = 0; index < ranks; index++) {
    const args = [process.env.PENSTOCK_FEED, String(index), String(ranks)]
    const start = () =>
      spawn(process.execPath, ['--input-type=module', '-e', rank, ...args], { cwd: root, stdio: 'inherit' })
    setTimeout(start, 500)
  }
  const model = { vocab_size: 128, sequence_length, layers: 1, heads: 1, width: 8 }
  const trainer = feedTrainer({ engine: 'torch', model, batch_size, steps, log_every_steps: 1 })
  const openedAt = performance.now()
  let startedAt = 0
  trainer.on('report', event => {
    if (event.kind === 'step' && event.step === 1) startedAt = performance.now()
  })
  await pipeline(shuffleSamples({ path, sequence_length, batch_size, epochs: 1 }), trainer)
  const tokens = (steps - 1) * batch_size * sequence_length
  const perSecond = (tokens / (performance.now() - startedAt)) * 1000
  console.log(
    `${ranks} ranks: first step ${((startedAt - openedAt) / 1000).toFixed(2)} s after the start (ranks start at 0.5 s),`,
    `${(perSecond / 1e6).toFixed(1)} million tokens/s in total, ${(perSecond / ranks / 1e6).toFixed(1)} per rank`,
  )
} finally {
  await rm(folder, { recursive: true })
}
