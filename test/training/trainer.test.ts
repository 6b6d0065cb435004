import { cp, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { listCheckpoints, openCheckpoint, saveCheckpoint } from '#src/training/checkpoint'
import type { Engine } from '#src/training/engine'
import { generate } from '#src/training/generation/generate'
import { openTrained } from '#src/training/open-engine'
import { type ModelInput, parseTraining, type TrainingInput } from '#src/training/options'
import { openTrainer, type TrainerSetup } from '#src/training/trainer'
import type { TrainingEvent } from '#src/training/training-events'
import { countingBatch, openTiny, tiny } from './fixtures.js'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-trainer-'))
})

afterEach(() => rm(folder, { recursive: true, force: true }))

interface Run {
  readonly events: TrainingEvent[]
  readonly losses: number[]
  readonly weights: string
}

/** Trains as a stage would: offers batches from the trainer's position until it is done or `until` batches were offered. */
async function run(
  training: TrainingInput,
  more: Partial<Omit<TrainerSetup, 'model'>> & { readonly until?: number; readonly model?: ModelInput } = {},
): Promise<Run> {
  const events: TrainingEvent[] = []
  const { model, until, ...setup } = more
  const engine = await openTiny(model, training)
  try {
    const trainer = await openTrainer({
      training: parseTraining({ batch_size: 4, log_every_steps: 1, ...training }),
      model: tiny(model),
      engine,
      onEvent: event => events.push(event),
      ...setup,
    })
    const first = (trainer.cursor?.globalSamples ?? 0) / 4
    for (let number = first; number < (until ?? Number.POSITIVE_INFINITY); number++) {
      if ((await trainer.offer(countingBatch(number, 4))) === 'done') {
        break
      }
    }
    if (until === undefined) {
      await trainer.end()
    }
    const { weights } = await engine.exportState()
    return {
      events,
      losses: events.flatMap(event => (event.kind === 'step' ? [event.loss] : [])),
      weights: [...weights].map(([name, { values }]) => `${name} ${values.join()}`).join('\n'),
    }
  } finally {
    await engine.close()
  }
}

describe('the loop', () => {
  test('warns before the first step if attention has only a slow kernel', async () => {
    const engine = Object.assign(await openTiny(), {
      attentionWarning: async (hasDocuments: boolean) => `slow, documents: ${hasDocuments}`,
    })
    const { events } = await run({ steps: 1 }, { engine })
    await engine.close()
    expect(events[0]).toEqual({ kind: 'slow-attention', message: 'slow, documents: false' })
  })

  test('trains for the given steps with accumulation and reports the result', async () => {
    const { events } = await run({ steps: 3, accumulation_steps: 2 })
    expect(events.map(event => event.kind)).toEqual(['step', 'step', 'step', 'end'])
    expect(events[2]).toMatchObject({ step: 3, totalSteps: 3, consumedTokens: 3 * 2 * 4 * 8 })
    expect(events[3]).toMatchObject({ kind: 'end', reason: 'completed', step: 3 })
  })

  test.each([
    [{ tokens: 4 * 8 * 5 + 3 }, 5],
    [{ tokens: 4 * 8 * 6, accumulation_steps: 2 }, 3],
    [{ epochs: 1, steps: undefined }, 2500],
  ])('computes its length in steps: %j', async (length, steps) => {
    const { events } = await run(length as TrainingInput, { until: 2 })
    const step = events.find(event => event.kind === 'step')
    expect(step).toMatchObject({ totalSteps: steps })
  })

  test('evaluates at its interval and at the end, on the same batches', async () => {
    const heldOut = async function* () {
      for (let number = 900; ; number++) {
        yield countingBatch(number, 4)
      }
    }
    const { events } = await run(
      { steps: 5, evaluation: { every_steps: 2, batches: 3 } },
      { heldOut: [{ open: heldOut }] },
    )
    const evaluations = events.filter(event => event.kind === 'evaluation')
    expect(evaluations.map(event => event.step)).toEqual([2, 4, 5])
    expect(evaluations[0]!.tokens).toBe(3 * 4 * 8)
    expect(events.at(-1)).toMatchObject({ kind: 'end', heldOutLoss: evaluations[2]!.loss })
  })

  test('drops an evaluation in progress when it is stopped, and saves a checkpoint', async () => {
    const stop = new AbortController()
    let evaluated = 0
    const heldOut = async function* () {
      for (let number = 900; ; number++) {
        if (++evaluated === 3) stop.abort()
        yield countingBatch(number, 4)
      }
    }
    const { events } = await run(
      { steps: 5, evaluation: { every_steps: 2, batches: 1000 }, checkpoint: { folder, every_steps: 100 } },
      { heldOut: [{ open: heldOut }], signal: stop.signal },
    )
    expect(evaluated).toBe(3)
    expect(events.map(event => event.kind)).toEqual(['step', 'step', 'checkpoint', 'end'])
    expect(events.at(-1)).toMatchObject({ reason: 'stopped', step: 2 })
  })

  test('rejects samples of another length, larger batches, unknown tokens and a NaN loss', async () => {
    const engine = await openTiny()
    const trainer = await openTrainer({ training: parseTraining({ batch_size: 4, steps: 2 }), model: tiny(), engine })
    await expect(trainer.offer(countingBatch(0, 4, 10))).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(trainer.offer(countingBatch(0, 5))).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(trainer.offer(countingBatch(0, 4, 9, 40))).rejects.toMatchObject({ code: 'TOKENIZER_MISMATCH' })
    await engine.close()
    const diverging = {
      optimizer: { learning_rate: 1e30 },
      schedule: { decay: 'constant' },
      gradient_clip: null,
    } as const
    await expect(run({ steps: 9, ...diverging })).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
  })
})

/** An engine that computes nothing: its steps have the given figures. */
function openFake(figures: (step: number) => { loss: number; gradientNorm: number }, maxStepsInFlight = 1) {
  let step = 0
  const pending: (() => void)[] = []
  const engine = {
    stepsTaken: 0,
    maxStepsInFlight,
    isPrimary: true,
    assertSameOnAllRanks: async () => {},
    step: async () => {
      step++
      const result = figures(step)
      await new Promise<void>(resolve => pending.push(resolve))
      return result
    },
    saveState: async (into: string) => {
      await writeFile(join(into, 'model.safetensors'), '')
      return ['model.safetensors']
    },
    memory: () => ({ tensors: 0, bytes: 0 }),
  } as unknown as Engine
  /** Lets all steps end that were started. */
  const finish = () => {
    for (const resolve of pending.splice(0)) resolve()
  }
  return { engine, finish, inFlight: () => pending.length }
}

describe('a step with a loss or gradient norm that is not finite', () => {
  const figures = (step: number) => ({ loss: 1.5, gradientNorm: step === 2 || step === 3 ? Number.NaN : 1 })

  async function train(training: TrainingInput) {
    const events: TrainingEvent[] = []
    const { engine, finish } = openFake(figures)
    const timer = setInterval(finish, 1)
    try {
      const options = { batch_size: 4, steps: 4, log_every_steps: 1, checkpoint: { folder, every_steps: 2 } }
      const trainer = await openTrainer({
        training: parseTraining({ ...options, ...training }),
        model: tiny(),
        engine,
        onEvent: event => events.push(event),
      })
      for (let number = 0; (await trainer.offer(countingBatch(number, 4))) !== 'done'; number++);
    } finally {
      clearInterval(timer)
    }
    return events
  }

  test('ends the run without a checkpoint', async () => {
    await expect(train({})).rejects.toMatchObject({ code: 'ENGINE_FAILED', message: expect.stringContaining('NaN') })
    expect(await readdir(folder)).toEqual([])
  })

  test('is counted and skipped with nonfinite: skip', async () => {
    const events = await train({ nonfinite: 'skip' })
    const skipped = events.filter(event => event.kind === 'skipped-step')
    expect(skipped).toMatchObject([
      { step: 2, inARow: 1 },
      { step: 3, inARow: 2 },
    ])
    expect(events.flatMap(event => (event.kind === 'step' ? [event.step] : []))).toEqual([1, 4])
    expect(events.at(-1)).toMatchObject({ kind: 'end', step: 4, loss: 1.5 })
  })

  test('ends the run after too many in a row', async () => {
    await expect(train({ nonfinite: 'skip', max_nonfinite_steps: 1 })).rejects.toMatchObject({ code: 'ENGINE_FAILED' })
  })
})

test('no step is in flight after a step at which the caller needs the engine', async () => {
  const { engine, finish, inFlight } = openFake(() => ({ loss: 1, gradientNorm: 1 }), 2)
  const timer = setInterval(finish, 1)
  const training = parseTraining({ batch_size: 4, steps: 9 })
  const trainer = await openTrainer({ training, model: tiny(), engine, pausesAfter: step => step % 3 === 0 })
  const steps: number[] = []
  for (let number = 0; number < 7; number++) {
    await trainer.offer(countingBatch(number, 4))
    if (inFlight() === 0) steps.push(trainer.step)
  }
  clearInterval(timer)
  finish()
  expect(steps).toContain(3)
  expect(steps).toContain(6)
})

test('training lets the event loop run', async () => {
  let turns = 0
  let timer: NodeJS.Immediate | undefined
  const count = () => {
    turns++
    timer = setImmediate(count)
  }
  const onEvent = ({ kind }: TrainingEvent) => {
    if (kind === 'step') timer ??= setImmediate(count)
    else if (kind === 'end') clearImmediate(timer)
  }
  await run({ steps: 60 }, { onEvent })
  expect(turns).toBeGreaterThan(2)
})

describe('a resumed run', () => {
  const training = (every = 1): TrainingInput => ({
    steps: 6,
    accumulation_steps: 2,
    schedule: { decay: 'cosine', warmup_steps: 2 },
    checkpoint: { folder, every_steps: every, keep: 2 },
  })

  test('has the losses and weights of an uninterrupted run, wherever it was interrupted', async () => {
    const whole = await run({ ...training(), checkpoint: undefined })
    for (let cut = 1; cut <= 12; cut++) {
      await rm(folder, { recursive: true, force: true })
      const before = await run(training(), { until: cut })
      const after = await run(training(), { resume: 'latest' })
      expect([...before.losses, ...after.losses], `cut after ${cut} batches`).toEqual(whole.losses)
      expect(after.weights).toBe(whole.weights)
    }
  })

  test('continues after a stop request, which finishes and saves the step', async () => {
    const whole = await run({ ...training(), checkpoint: undefined })
    const stop = new AbortController()
    const stopped = await run(training(100), {
      signal: stop.signal,
      onEvent: event => event.kind === 'step' && event.step === 3 && stop.abort(),
    })
    expect(stopped.events).toEqual([])
    expect((await listCheckpoints(folder)).map(path => path.slice(-4))).toEqual(['0003'])
    const after = await run(training(100), { resume: 'latest' })
    expect(after.losses).toEqual(whole.losses.slice(3))
    expect(after.weights).toBe(whole.weights)
  })

  test('rejects another model, different data, and batches already trained on', async () => {
    await run(training(), { until: 4 })
    await expect(run(training(), { resume: 'latest', model: { layers: 1 } })).rejects.toMatchObject({
      code: 'WORLD_MISMATCH',
    })
    const engine = await openTiny()
    const setup = { training: parseTraining({ batch_size: 4, ...training() }), model: tiny(), engine }
    const trainer = await openTrainer({ ...setup, resume: 'latest' })
    const next = countingBatch(4, 4)
    await expect(trainer.offer(countingBatch(2, 4))).rejects.toMatchObject({ code: 'WORLD_MISMATCH' })
    await expect(trainer.offer({ ...next, cursor: { ...next.cursor, dataBytes: 1 } })).rejects.toMatchObject({
      code: 'WORLD_MISMATCH',
    })
    expect(await trainer.offer(next)).toBe('more')
    await engine.close()
  })

  test.each([
    ['cosine', 4, 8, true],
    ['constant', 4, 8, false],
    ['cosine', 4, 4, false],
  ] as const)('reports a learning rate that jumps: %s, %i to %i steps', async (decay, before, after, jumps) => {
    const definition = (steps: number) => ({ ...training(), steps, schedule: { decay } })
    await run(definition(before))
    const { events } = await run(definition(after), { resume: 'latest' })
    const changes = events.filter(event => event.kind === 'schedule-changed')
    expect(changes).toHaveLength(jumps ? 1 : 0)
    if (jumps) {
      expect(changes[0]).toMatchObject({ step: 4, previousTotalSteps: 4, totalSteps: 8 })
      // The cosine had reached its minimum, a tenth of the peak; half-way through 8 steps it is at 0.55.
      expect(changes[0]!.previousLearningRate).toBeCloseTo(1e-4)
      expect(changes[0]!.learningRate).toBeCloseTo(5.5e-4)
    }
  })

  test('must be requested: a new run rejects a folder with checkpoints', async () => {
    await run(training(), { until: 4 })
    await expect(run(training())).rejects.toMatchObject({ code: 'FILE_EXISTS' })
  })
})

describe('checkpoints', () => {
  const continuation = { maxTokens: 10, temperature: 0 }
  const training = (): TrainingInput => ({ steps: 4, checkpoint: { folder, every_steps: 1, keep: 2 } })

  test('keep the newest, contain cursor, definition and tokenizer, and leave no partial folders', async () => {
    await run(training(), { tokenizer: { path: 'tokenizer.json', sha256: 'a'.repeat(64) } })
    expect((await readdir(folder)).sort()).toEqual(['step-000003', 'step-000004'])
    const { state } = await openCheckpoint(join(folder, 'step-000004'))
    expect(state).toMatchObject({
      step: 4,
      consumedTokens: 128,
      cursor: { globalSamples: 16, sequenceLength: 8 },
      tokenizer: { path: 'tokenizer.json' },
      model: { vocab_size: 12 },
    })
  })

  test('open as a trained model that continues a learned sequence', async () => {
    await run({ ...training(), steps: 60, optimizer: { learning_rate: 0.01 } })
    const [newest] = await listCheckpoints(folder)
    const { engine, model } = await openTrained(newest!, { backend: 'cpu' })
    const ids = []
    for await (const id of generate(engine, [3], { ...continuation, sequenceLength: model.sequence_length })) {
      ids.push(id)
    }
    expect(ids).toEqual([4, 5, 6, 7, 8, 9, 10, 11, 0, 1])
    await engine.close()
  })

  test('that cannot be written fail the run and keep the earlier ones', async () => {
    const engine = await openTiny()
    const state = { step: 2, totalSteps: 4, consumedTokens: 0, cursor: countingBatch(0, 4).cursor }
    const definition = { model: tiny(), training: parseTraining(training()) }
    await run({ ...training(), steps: 1 })
    const full = { ...engine, saveState: () => Promise.reject(new Error('ENOSPC: no space left on device')) }
    await expect(
      saveCheckpoint(folder, 2, full as unknown as Engine, { ...state, ...definition }),
    ).rejects.toMatchObject({
      code: 'FILE_UNWRITABLE',
    })
    expect(await readdir(folder)).toEqual(['step-000001'])
    const file = join(folder, 'step-000001', 'state.json')
    await expect(saveCheckpoint(file, 2, engine, { ...state, ...definition })).rejects.toMatchObject({
      code: 'FILE_UNWRITABLE',
    })
    await engine.close()
  })

  test('left over by a kill after the last save are removed by the next run, unless the newest is damaged', async () => {
    await run({ ...training(), checkpoint: { folder, every_steps: 1, keep: 4 } })
    const newest = join(folder, 'step-000004', 'state.json')
    const state = await readFile(newest)
    await mkdir(join(folder, '.step-000000.old'))
    await writeFile(newest, '{}')
    await run({ ...training(), steps: 3 }, { resume: 'latest' })
    expect((await readdir(folder)).sort()).toHaveLength(5)
    await writeFile(newest, state)
    await run(training(), { resume: 'latest' })
    expect((await readdir(folder)).sort()).toEqual(['step-000003', 'step-000004'])
  })

  test('partly written by a killed run are removed', async () => {
    await run(training(), { until: 2 })
    await cp(join(folder, 'step-000002'), join(folder, '.step-000003.partial'), { recursive: true })
    await rm(join(folder, '.step-000003.partial', 'state.json'))
    const { events } = await run(training(), { resume: 'latest' })
    expect(events[0]).toMatchObject({ kind: 'resumed', step: 2 })
    expect((await readdir(folder)).sort()).toEqual(['step-000003', 'step-000004'])
  })

  test.each(['.step-000009.old', '.step-000004.partial', '.step-000004.old', 'step-000000'])(
    'never remove a folder of another kind: %s',
    async name => {
      await mkdir(join(folder, name))
      await writeFile(join(folder, name, 'notes.txt'), 'mine')
      const engine = await openTiny()
      const definition = { model: tiny(), training: parseTraining(training()), cursor: countingBatch(0, 4).cursor }
      const save = async () => {
        // The last one is saved twice, so that its first folder is moved aside.
        for (const step of [1, 2, 3, 4, 4]) {
          await saveCheckpoint(folder, 2, engine, { step, totalSteps: 4, consumedTokens: 0, ...definition })
        }
        return 'saved'
      }
      const outcome = await save().catch(error => error.code)
      await engine.close()
      const isInTheWay = name.startsWith('.step-000004.')
      expect(outcome).toBe(isInTheWay ? 'FILE_EXISTS' : 'saved')
      expect(await readFile(join(folder, name, 'notes.txt'), 'utf8')).toBe('mine')
    },
  )

  test.each(['model.safetensors', 'optimizer.safetensors', 'state.json'])(
    'with a flipped bit or a truncated %s are detected, and the previous one is used',
    async name => {
      const whole = await run(training())
      const file = join(folder, 'step-000004', name)
      const bytes = await readFile(file)
      for (let tenth = 0; tenth < 10; tenth++) {
        const position = Math.floor((bytes.length * tenth) / 10)
        const handle = await open(file, 'r+')
        await handle.write(Buffer.of(bytes[position]! ^ (1 << (tenth % 8))), 0, 1, position)
        await handle.close()
        await expect(openCheckpoint(join(folder, 'step-000004'))).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
        await writeFile(file, bytes.subarray(0, position))
        await expect(openCheckpoint(join(folder, 'step-000004'))).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
        await writeFile(file, bytes)
      }
      await writeFile(file, bytes.subarray(1))
      const again = await run(training(), { resume: 'latest' })
      expect(again.events.slice(0, 2)).toMatchObject([
        { kind: 'damaged-checkpoint', error: { code: 'CHECKPOINT_INVALID' } },
        { kind: 'resumed', step: 3 },
      ])
      expect(again.weights).toBe(whole.weights)
      expect((await openCheckpoint(join(folder, 'step-000004'))).state.step).toBe(4)
    },
  )

  test('that are all damaged are an error; an empty folder starts a new run', async () => {
    await run({ ...training(), steps: 1 })
    await rm(join(folder, 'step-000001', 'model.safetensors'))
    await expect(run(training(), { resume: 'latest' })).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    await rm(folder, { recursive: true })
    expect((await run(training(), { resume: 'latest' })).losses).toHaveLength(4)
  })
})

test('a diverging training is reported once', async () => {
  const divergences = async (learning_rate: number) => {
    const { events } = await run({ steps: 11, optimizer: { learning_rate }, schedule: { decay: 'constant' } })
    return events.filter(event => event.kind === 'diverged')
  }
  expect(await divergences(1e-3)).toEqual([])
  expect(await divergences(100)).toEqual([expect.objectContaining({ uniformLoss: Math.log(12) })])
})
