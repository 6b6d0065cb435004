/** Checkpoints that an engine writes while the training continues, with an engine that computes nothing. */
import { createHash } from 'node:crypto'
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openCheckpoint } from '#src/training/checkpoint'
import type { Engine } from '#src/training/engine'
import { parseTraining } from '#src/training/options'
import { openTrainer } from '#src/training/trainer'
import type { TrainingEvent } from '#src/training/training-events'
import { temporaryFolder } from '../stages/support.js'
import { countingBatch, tiny } from './fixtures.js'

const root = temporaryFolder()
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()

/** Trains 6 steps with a checkpoint at every second one. `write` ends the writing of each of them. */
function start(
  name: string,
  write: (save: number) => Promise<void>,
  isAsync = true,
  beforeStep = async (_: number) => {},
) {
  const folder = join(root, name)
  let [steps, saves] = [0, 0]
  let [saving, mostAtOnce] = [0, 0]
  const engine = {
    stepsTaken: 0,
    maxStepsInFlight: 1,
    isPrimary: true,
    assertSameOnAllRanks: async () => {},
    step: async () => {
      await beforeStep(++steps)
      return { loss: 1, gradientNorm: 1 }
    },
    saveState: async (into: string, onCopied?: () => void) => {
      const save = ++saves
      mostAtOnce = Math.max(mostAtOnce, ++saving)
      const bytes = Buffer.from(`weights ${save}`)
      await writeFile(join(into, 'model.safetensors'), bytes)
      onCopied?.()
      await write(save)
      saving--
      const hashes = [0, 4, 8].map(from => sha256(bytes.subarray(from, from + 4)))
      const record = { bytes: 9, sha256: sha256(Buffer.concat(hashes)).toString('hex'), partBytes: 4 }
      return [{ name: 'model.safetensors', record }]
    },
  } as unknown as Engine
  const events: TrainingEvent[] = []
  const checkpoint = { folder, every_steps: 2, async: isAsync }
  const training = parseTraining({ batch_size: 4, steps: 6, log_every_steps: 1, checkpoint })
  const train = async () => {
    const trainer = await openTrainer({ training, model: tiny(), engine, onEvent: event => events.push(event) })
    try {
      for (let number = 0; (await trainer.offer(countingBatch(number, 4))) !== 'done'; number++);
    } finally {
      await trainer.finishSaving().catch(() => {})
    }
  }
  const story = () => events.map(event => ('step' in event ? `${event.kind} ${event.step}` : event.kind))
  return { folder, story, ended: train(), mostAtOnce: () => mostAtOnce }
}

test('steps are taken while a checkpoint is written, and the next one waits for it', async () => {
  let release = () => {}
  const released = new Promise<void>(resolve => {
    release = resolve
  })
  const run = start('async', save => (save === 1 ? released : Promise.resolve()))
  await expect.poll(run.story).toEqual(['step 1', 'step 2', 'step 3', 'step 4'])
  // A run killed here resumes from an earlier checkpoint: nothing has a final name.
  expect(await readdir(run.folder)).toEqual(['.step-000002.partial'])
  release()
  await run.ended
  expect(run.story().filter(line => !line.startsWith('step'))).toEqual([
    'checkpoint 2',
    'checkpoint 4',
    'checkpoint 6',
    'end 6',
  ])
  expect(run.mostAtOnce()).toBe(1)
  const path = join(run.folder, 'step-000006')
  expect((await openCheckpoint(path)).state.step).toBe(6)
  await writeFile(join(path, 'model.safetensors'), 'weighty 3')
  await expect(openCheckpoint(path)).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
})

test('no step is taken while a checkpoint is written with async: false', async () => {
  const run = start('sync', () => new Promise(resolve => setTimeout(resolve, 5)), false)
  await run.ended
  expect(run.story().slice(0, 4)).toEqual(['step 1', 'step 2', 'checkpoint 2', 'step 3'])
})

test('a checkpoint that cannot be written ends the run at the next step and leaves the earlier one', async () => {
  const write = async (save: number) => {
    if (save === 2) throw new Error('ENOSPC: no space left on device')
  }
  const left = () => readdir(join(root, 'full'))
  const run = start('full', write, true, async step => {
    if (step === 5) await expect.poll(left).toEqual(['step-000002'])
  })
  await expect(run.ended).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' })
  expect(run.story().filter(line => line.startsWith('step'))).toHaveLength(5)
  expect((await openCheckpoint(join(run.folder, 'step-000002'))).state.step).toBe(2)
})
