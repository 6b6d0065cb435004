import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-kill-'))
})

afterEach(() => rm(folder, { recursive: true, force: true }))

/** A run of 60 steps that saves after each, so that most kills hit a save; prints a line per step. */
const program = `
  import { parseTraining, resolveModel } from '#src/training/options'
  import { openEngine } from '#src/training/open-engine'
  import { openTrainer } from '#src/training/trainer'
  const model = resolveModel({ vocab_size: 12, sequence_length: 8, layers: 1, heads: 2, width: 16, ffn_width: 24 })
  const training = parseTraining({ batch_size: 4, steps: 60, checkpoint: { folder: process.argv[1], every_steps: 1 } })
  const engine = await openEngine(training, model)
  const onEvent = event => event.kind === 'checkpoint' && process.stdout.write('saved\\n')
  const trainer = await openTrainer({ model, training, engine, onEvent, resume: 'latest' })
  for (let number = (trainer.cursor?.globalSamples ?? 0) / 4; ; number++) {
    const tokens = Int32Array.from({ length: 36 }, (_, index) => (index + number) % 12)
    const cursor = { version: 1, globalSamples: 4 * number + 4, seed: 0, sampleCount: 999, sequenceLength: 8, dataBytes: 1, tokenBytes: 1 }
    const batch = { kind: 'samples', number, byteLength: 144, tokens, rows: 4, block: 9, cursor }
    if ((await trainer.offer(batch)) === 'done') break
  }
`

/** Runs the program, and optionally kills it some milliseconds after its n-th save. */
async function train(
  into: string,
  killAfter?: { readonly saves: number; readonly ms: number },
): Promise<number | null> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, into])
  let saves = 0
  child.stdout.on('data', (text: Buffer) => {
    saves += text.toString().split('\n').length - 1
    if (killAfter !== undefined && saves >= killAfter.saves) {
      setTimeout(() => child.kill('SIGKILL'), killAfter.ms)
    }
  })
  return new Promise(resolve => child.on('close', resolve))
}

async function hashOfResult(path: string): Promise<string> {
  const file = join(path, 'step-000060', 'model.safetensors')
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex')
}

test('a run killed repeatedly, also during saves, ends with the weights of an uninterrupted one', async () => {
  const [whole, killed] = [join(folder, 'whole'), join(folder, 'killed')]
  expect(await train(whole)).toBe(0)
  for (const ms of [0, 1, 2, 3, 5]) {
    expect(await train(killed, { saves: 7, ms })).toBe(null)
  }
  expect(await train(killed)).toBe(0)
  expect(await hashOfResult(killed)).toBe(await hashOfResult(whole))
  expect((await readdir(killed)).sort()).toEqual(['step-000059', 'step-000060'])
})
