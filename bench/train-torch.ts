/**
 * Speed of training with the torch engine beside a plain loop written by hand, on the same model, in turns, because other
 * programs share the machine. Run it after a build: `npx jiti bench/train-torch.ts [nproc] [--gpu 124M|1.3B]`.
 */
import { execFileSync } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { SampleBatch } from '#src/formats/batches'
import { openEngine } from '#src/training/open-engine'
import { type ModelInput, parseTraining, resolveModel } from '#src/training/options'
import { findPython } from '#src/training/torch/python'
import { openTrainer } from '#src/training/trainer'
import { parameterCount, uniformGenerator } from '#src/training/weights'

interface Shape {
  readonly model: ModelInput
  /** Of a step. */
  readonly rows: number
  readonly steps: number
}

const shapes: Readonly<Record<string, Shape>> = {
  small: {
    model: { vocab_size: 512, sequence_length: 128, layers: 2, heads: 4, width: 128, ffn_width: 352 },
    rows: 8,
    steps: 120,
  },
  wide: {
    model: { vocab_size: 4096, sequence_length: 256, layers: 4, heads: 8, width: 256, ffn_width: 704 },
    rows: 8,
    steps: 16,
  },
  '124M': { model: { vocab_size: 50304, sequence_length: 1024, layers: 12, heads: 12, width: 768 }, rows: 32, steps: 60 },
  '1.3B': { model: { vocab_size: 50304, sequence_length: 2048, layers: 24, heads: 32, width: 2048 }, rows: 8, steps: 40 },
}

const nproc = Number(process.argv[2] ?? 1)
const gpuShape = process.argv[3] === '--gpu' ? process.argv[4] : undefined
const onGpu = gpuShape !== undefined
const python = findPython(undefined)

/** Median tokens/s over the last three quarters of the steps, batches made and dealt in Node as in a real run. */
async function ours({ model: input, rows, steps }: Shape): Promise<number> {
  const torch = { nproc, device: onGpu ? 'cuda' : 'cpu', compile: onGpu } as const
  const training = parseTraining({ engine: 'torch', torch, batch_size: rows, steps, log_every_steps: 1 })
  const model = resolveModel(input)
  const engine = await openEngine(training, model)
  const endings: number[] = []
  const onEvent = (event: { kind: string }) => void (event.kind === 'step' && endings.push(performance.now()))
  try {
    const trainer = await openTrainer({ training, model, engine, onEvent })
    for (let number = 0; (await trainer.offer(randomBatch(number, rows, model))) !== 'done'; number++);
  } finally {
    await engine.close()
  }
  const counted = endings.slice(Math.floor(steps / 4))
  return (rows * model.sequence_length * (counted.length - 1) * 1000) / (counted.at(-1)! - counted[0]!)
}

function randomBatch(number: number, rows: number, model: { vocab_size: number; sequence_length: number }): SampleBatch {
  const draw = uniformGenerator(String(number))
  const block = model.sequence_length + 1
  const tokens = Int32Array.from({ length: rows * block }, () => Math.floor(draw() * model.vocab_size))
  const cursor = { globalSamples: (number + 1) * rows, seed: 0, sampleCount: 1e6, sequenceLength: block - 1 }
  const data = { version: 1, dataBytes: 1e9, tokenBytes: 2 } as const
  return { kind: 'samples', number, byteLength: tokens.byteLength, tokens, rows, block, cursor: { ...cursor, ...data } }
}

function plain({ model: input, rows, steps }: Shape): number {
  const { vocab_size, sequence_length, layers, heads, width, ffn_width } = resolveModel(input)
  const model = { vocab_size, sequence_length, layers, heads, width, ffn_width }
  const options = { model, rows, steps, device: onGpu ? 'cuda' : 'cpu', compile: onGpu, bf16: onGpu }
  const script = [fileURLToPath(new URL('train-torch-plain.py', import.meta.url)), JSON.stringify(options)]
  const launcher = nproc === 1 ? [] : ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', String(nproc)]
  const threads = Math.max(1, Math.floor(availableParallelism() / nproc))
  const output = execFileSync(python, [...launcher, ...script], {
    encoding: 'utf8',
    env: { ...process.env, OMP_NUM_THREADS: String(threads) },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return JSON.parse(output.trim().split('\n').at(-1)!).tokensPerSecond
}

for (const name of gpuShape === undefined ? ['small', 'wide'] : [gpuShape]) {
  const shape = shapes[name]!
  const size = parameterCount(resolveModel(shape.model))
  const rounds: { ours: number; plain: number }[] = []
  for (let round = 0; round < 3; round++) {
    rounds.push({ plain: plain(shape), ours: await ours(shape) })
  }
  const ratios = rounds.map(round => round.ours / round.plain).sort((a, b) => a - b)
  const best = (key: 'ours' | 'plain') => Math.max(...rounds.map(round => round[key])).toFixed(0)
  console.log(
    `${name}, ${(size / 1e6).toFixed(1)} million weights, ${nproc} ranks, tokens/s: plain loop ${best('plain')}, ours ${best('ours')};`,
    `ratio of rounds ${ratios.map(ratio => ratio.toFixed(2)).join(' ')}`,
  )
}
