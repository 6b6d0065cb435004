/**
 * Cost of masked documents in a training step: pairs of plain and masked steps on the same engine, in alternating order and
 * processor time, which other programs on the machine affect little. Needs a build:
 * `npx jiti bench/masks.ts [wasm|node|torch] [pairs]`. Prints the median over the pairs of masked over plain tokens per second.
 */
import { loadavg } from 'node:os'
import type { TrainingBatch } from '#src/training/engine'
import { openEngine } from '#src/training/open-engine'
import { parseTraining, resolveModel } from '#src/training/options'
import { uniformGenerator } from '#src/training/weights'
import { allProcessorSeconds } from './processor-time.js'

const where = process.argv[2] ?? 'wasm'
const pairs = Number(process.argv[3] ?? 12)
/** Steps per measurement. */
const steps = 4
const [rows, columns, vocab_size] = [2, 256, 4096]

const draw = uniformGenerator('masks')
const randomIds = () => Int32Array.from({ length: rows * columns }, () => Math.floor(draw() * vocab_size))
const plain: TrainingBatch = { inputs: randomIds(), targets: randomIds(), rows, columns }
/** Documents of 1 to 128 tokens. */
const starts = new Int32Array(rows * columns)
for (let row = 0; row < rows; row++) {
  for (let at = 0, next = 0, start = 0; at < columns; at++) {
    if (at === next) {
      start = at
      next += 1 + Math.floor(draw() * 128)
    }
    starts[row * columns + at] = start
  }
}
const masked: TrainingBatch = { ...plain, documents: { starts, restartPositions: true } }

const model = resolveModel({ vocab_size, sequence_length: columns, layers: 2, heads: 4, width: 128 })
const training = where === 'torch' ? { engine: 'torch', torch: { device: 'cpu' } } : { backend: where, threads: 1 }
// Several threads wait for each other actively on a busy machine, which counts as processor time.
process.env.OMP_NUM_THREADS ??= '1'
const engine = await openEngine(parseTraining(training), model)
const secondsOf = async (batch: TrainingBatch): Promise<number> => {
  const started = allProcessorSeconds()
  for (let step = 0; step < steps; step++) await engine.step([batch], 1e-3)
  return allProcessorSeconds() - started
}
for (const batch of [plain, masked, plain, masked]) await secondsOf(batch)
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!
const found: { plain: number; masked: number }[] = []
for (let pair = 0; pair < pairs; pair++) {
  const first = await secondsOf(pair % 2 === 0 ? plain : masked)
  const second = await secondsOf(pair % 2 === 0 ? masked : plain)
  found.push(pair % 2 === 0 ? { plain: first, masked: second } : { plain: second, masked: first })
}
await engine.close()
const ratio = median(found.map(({ plain, masked }) => plain / masked))
const rate = (seconds: readonly number[]) => Math.round((steps * rows * columns) / median(seconds))
console.log(
  `${where}: plain ${rate(found.map(pair => pair.plain))} tokens per second of processor time, masked ${rate(found.map(pair => pair.masked))}, ` +
    `ratio ${ratio.toFixed(3)} (median of ${pairs} pairs), load ${loadavg()[0]!.toFixed(1)}`,
)
