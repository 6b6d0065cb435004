/**
 * Speed of training with the torch engine beside a plain loop written by hand, on the same model, in turns, because other
 * programs share the machine; on a busy one OMP_NUM_THREADS=1 keeps threads from waiting for each other. Run it after a build: `npx jiti bench/train-torch.ts [nproc] [--gpu 124M|1.3B]`.
 */
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { feedTrainer } from '#src/stages/feed-trainer'
import { shuffleSamples } from '#src/stages/shuffle-samples'
import { type ModelInput, resolveModel } from '#src/training/options'
import { findPython } from '#src/training/torch/python'
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
    steps: 32,
  },
  '124M': {
    model: { vocab_size: 50304, sequence_length: 1024, layers: 12, heads: 12, width: 768 },
    rows: 32,
    steps: 60,
  },
  '1.3B': {
    model: { vocab_size: 50304, sequence_length: 2048, layers: 24, heads: 32, width: 2048 },
    rows: 8,
    steps: 40,
  },
}

const windowSteps = 10
const nproc = Number(process.argv[2] ?? 1)
const gpuShape = process.argv[3] === '--gpu' ? process.argv[4] : undefined
const onGpu = gpuShape !== undefined
const python = findPython(undefined)
const folder = await mkdtemp(join(tmpdir(), 'penstock-bench-'))

/** Tokens/s over the fastest ten steps in a row, and Node's share of the processor time, from a packed file on. */
async function ours({ model, rows, steps }: Shape): Promise<{ tokensPerSecond: number; feederShare: number }> {
  const path = join(folder, `${model.vocab_size}.pbin`)
  const { sequence_length } = resolveModel(model)
  const torch = { nproc, device: onGpu ? 'cuda' : 'cpu', compile: onGpu } as const
  const trainer = feedTrainer({ engine: 'torch', torch, model, batch_size: rows, steps, log_every_steps: 1 })
  const endings: { at: number; node: number }[] = []
  trainer.on('report', event => {
    if (event.kind === 'step') {
      const { user, system } = process.cpuUsage()
      endings.push({ at: performance.now(), node: (user + system) / 1000 })
    }
  })
  await pipeline(shuffleSamples({ path, sequence_length, batch_size: rows, epochs: 'endless' }), trainer)
  const windows = endings.slice(steps / 4).flatMap((last, index, counted) => {
    const first = counted[index - windowSteps]
    return first === undefined ? [] : [last.at - first.at]
  })
  // The ranks keep every core busy that they may use.
  const cores = onGpu ? nproc : availableParallelism()
  const [first, last] = [endings[Math.floor(steps / 4)]!, endings.at(-1)!]
  return {
    tokensPerSecond: (1000 * rows * sequence_length * windowSteps) / Math.min(...windows),
    feederShare: (last.node - first.node) / ((last.at - first.at) * cores),
  }
}

/** A packed file of random tokens. */
async function writePacked({ model }: Shape): Promise<void> {
  const draw = uniformGenerator('bench')
  const tokens = Uint16Array.from({ length: 1 << 20 }, () => Math.floor(draw() * model.vocab_size!))
  const header = encodePbinHeader({ dataBytes: tokens.byteLength, tokenBytes: 2 })
  const content = [header, new Uint8Array(tokens.buffer), writePairList([[0, tokens.byteLength]])]
  await writeFile(join(folder, `${model.vocab_size}.pbin`), Buffer.concat(content))
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
    env: { ...process.env, OMP_NUM_THREADS: process.env.OMP_NUM_THREADS ?? String(threads) },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return JSON.parse(output.trim().split('\n').at(-1)!).tokensPerSecond
}

try {
  for (const name of gpuShape === undefined ? ['small', 'wide'] : [gpuShape]) {
    const shape = shapes[name]!
    await writePacked(shape)
    const rounds: { ours: number; plain: number; share: number }[] = []
    for (let round = 0; round < 3; round++) {
      const { tokensPerSecond, feederShare } = await ours(shape)
      rounds.push({ ours: tokensPerSecond, plain: plain(shape), share: feederShare })
    }
    const sorted = (values: number[]) =>
      values
        .sort((a, b) => a - b)
        .map(value => value.toFixed(2))
        .join(' ')
    const best = (key: 'ours' | 'plain') => Math.max(...rounds.map(round => round[key])).toFixed(0)
    console.log(
      `${name}, ${(parameterCount(resolveModel(shape.model)) / 1e6).toFixed(1)} million weights, ranks: ${nproc}.`,
      `Best tokens/s: plain loop ${best('plain')}, ours ${best('ours')}.`,
      `Ratios of the rounds ${sorted(rounds.map(round => round.ours / round.plain))},`,
      `Node's share of processor time, per cent: ${sorted(rounds.map(({ share }) => 100 * share))}`,
    )
  }
} finally {
  await rm(folder, { recursive: true })
}
