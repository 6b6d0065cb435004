/**
 * Asynchronous checkpoints of the torch engine with 500 MB of state: duration of a step while one is written, next to one
 * without, and MB/s per rank. Wall times need an idle core for the writing thread; the processor time of the main thread does not.
 * Needs a build and torch: `npx jiti bench/checkpoint.ts [ranks] [rounds] [folder]`.
 */
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { toTrainingBatch } from '#src/training/engine'
import { openEngine } from '#src/training/open-engine'
import { parseTraining, resolveModel } from '#src/training/options'
import { descendants } from '../test/training/torch/fixtures.js'

const [ranks = 1, rounds = 5] = process.argv.slice(2, 4).map(Number)
const STEPS = 6
process.env.OMP_NUM_THREADS = '1'

/** Processor time of a process's main thread, in ms. */
async function mainThreadTime(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/task/${pid}/schedstat`, 'utf8')
  return Number(text.split(' ')[0]) / 1e6
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

const folder = await mkdtemp(join(process.argv[4] ?? tmpdir(), 'penstock-bench-'))
const model = resolveModel({ vocab_size: 4096, sequence_length: 64, layers: 5, heads: 12, width: 768 })
const torch = { nproc: ranks, device: 'cpu' as const }
const engine = await openEngine(parseTraining({ engine: 'torch', model, torch }), model)
try {
  const tokens = Int32Array.from({ length: 33 }, (_, place) => (place * 37) % 4096)
  const batch = toTrainingBatch(tokens, 1, 33)
  await engine.step([batch], 1e-4)
  const pid = descendants(process.pid, '-u -m penstock_torch')[0]!
  const measured = async (work: () => Promise<unknown>) => {
    const [startedAt, before] = [performance.now(), await mainThreadTime(pid)]
    await work()
    return { wall: performance.now() - startedAt, main: (await mainThreadTime(pid)) - before }
  }
  const steps = async () => {
    for (let step = 0; step < STEPS; step++) await engine.step([batch], 1e-4)
  }
  const found = { wall: [] as number[], main: [] as number[], copy: [] as number[], write: [] as number[] }
  let bytes = 0
  for (let round = 0; round < rounds; round++) {
    const without = await measured(steps)
    const into = await mkdtemp(join(folder, 'round-'))
    const startedAt = performance.now()
    let copiedAt = 0
    let writing: Promise<unknown> = Promise.resolve()
    await new Promise<void>((resolve, reject) => {
      writing = engine.saveState(into, () => {
        copiedAt = performance.now()
        resolve()
      })
      writing.catch(reject)
    })
    let writtenAt = 0
    void writing.then(() => {
      writtenAt = performance.now()
    })
    // Whole steps during which the checkpoint is still written.
    const during = { wall: 0, main: 0, count: 0 }
    while (writtenAt === 0) {
      const one = await measured(() => engine.step([batch], 1e-4))
      if (writtenAt !== 0 && during.count > 0) break
      during.wall += one.wall
      during.main += one.main
      during.count++
    }
    await writing
    bytes = 0
    for (const name of await readdir(into)) bytes += (await stat(join(into, name))).size
    await rm(into, { recursive: true })
    found.wall.push(during.wall / during.count / (without.wall / STEPS))
    found.main.push(during.main / during.count / (without.main / STEPS))
    found.copy.push(copiedAt - startedAt)
    found.write.push(writtenAt - copiedAt)
    console.log(
      `step ${(without.wall / STEPS).toFixed(0)} ms, ${during.count} steps during the save; ratio of wall time ${found.wall.at(-1)!.toFixed(2)}, of the main thread's processor time ${found.main.at(-1)!.toFixed(3)}; copied in ${found.copy.at(-1)!.toFixed(0)} ms, written in ${found.write.at(-1)!.toFixed(0)} ms`,
    )
  }
  const speed = bytes / ranks / 1e3 / median(found.write)
  console.log(
    `${ranks} rank(s), ${(bytes / 1e6).toFixed(0)} MB: ratio of a step during a save ${median(found.wall).toFixed(2)} (wall), ${median(found.main).toFixed(3)} (processor time); ${speed.toFixed(0)} MB/s written and hashed per rank`,
  )
} finally {
  await engine.close()
  await rm(folder, { recursive: true, force: true })
}
