/**
 * Training speed of the torch engine compared with two hand-written loops on the same model, a plain one and one
 * structured like nanoGPT's, with the same data type and number of threads. The loops run one at a time, in an order
 * that rotates each round. The first quarter of the steps is dropped; the result is the median over groups of ten
 * steps, and then over the rounds. Prints tokens/s, ratios, the model FLOPs utilization (MFU) on a known GPU, the time
 * that devices waited for data, Node's share of the CPU time, and everything as one line of JSON. By default, one rank trains
 * `small` and `wide`, several train `small`; either takes two minutes on two idle cores. Needs a build:
 *   npx jiti bench/train-torch.ts [--nproc 2] [--device cuda] [--model small|wide|124M|1.3B] [--rounds 3]
 */
import { execFileSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { feedTrainer } from '#src/stages/feed-trainer'
import { shuffleSamples } from '#src/stages/samples/shuffle-samples'
import { type ModelInput, resolveModel } from '#src/training/options'
import { findPython } from '#src/training/torch/python'
import { parameterCount, uniformGenerator } from '#src/training/weights'
import { descendantProcessorSeconds } from './processor-time.js'

interface Shape {
  readonly model: ModelInput
  /** Rows per step. */
  readonly rows: number
  /** A multiple of 40: a quarter is dropped, the rest is split into groups of ten. */
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
    steps: 40,
  },
  '124M': {
    model: { vocab_size: 50304, sequence_length: 1024, layers: 12, heads: 12, width: 768 },
    rows: 32,
    steps: 80,
  },
  '1.3B': {
    model: { vocab_size: 50304, sequence_length: 2048, layers: 24, heads: 32, width: 2048 },
    rows: 8,
    steps: 40,
  },
}

const groupSteps = 10
const { values: flags } = parseArgs({
  options: {
    nproc: { type: 'string', default: '1' },
    device: { type: 'string', default: 'cpu' },
    model: { type: 'string', multiple: true },
    rounds: { type: 'string', default: '3' },
  },
})
const nproc = Number(flags.nproc)
/** Threads per rank; the engine uses the same default. */
const threads = Number(process.env.OMP_NUM_THREADS ?? Math.max(1, Math.floor(availableParallelism() / nproc)))
const onGpu = flags.device === 'cuda'
const python = findPython(undefined)
const folder = await mkdtemp(join(tmpdir(), 'penstock-bench-'))

interface Figures {
  /** Median over groups of ten steps. */
  readonly tokensPerSecond: number
  /** Node's share of the CPU time of Node and its ranks; undefined where this is unavailable. */
  readonly feederShare: number | undefined
  readonly utilization: number | undefined
  /** Average over every tenth step. */
  readonly dataWaitMs: number
}

/** Trains on a packed file; drops the first quarter of the steps. */
async function penstock({ model, rows, steps }: Shape): Promise<Figures> {
  const { sequence_length } = resolveModel(model)
  const torch = { nproc, device: onGpu ? 'cuda' : 'cpu', compile: onGpu } as const
  const trainer = feedTrainer({ engine: 'torch', torch, model, batch_size: rows, steps, log_every_steps: groupSteps })
  const endings: { at: number; node: number; ranks: number; waited: number; utilization: number | undefined }[] = []
  trainer.on('report', event => {
    if (event.kind !== 'step') return
    const { user, system } = process.cpuUsage()
    endings.push({
      at: performance.now(),
      node: (user + system) / 1e6,
      // Reading the CPU time is itself slow, so do it only when needed.
      ranks: event.step === steps / 4 || event.step === steps ? descendantProcessorSeconds() : 0,
      waited: event.dataWaitMs ?? 0,
      utilization: event.utilization,
    })
  })
  await pipeline(shuffleSamples({ path: fileOf(model), sequence_length, batch_size: rows, epochs: 'endless' }), trainer)
  const [first, ...counted] = endings.slice(steps / 4 / groupSteps - 1)
  const last = counted.at(-1)!
  const groups = counted.map(({ at }, index) => at - (counted[index - 1] ?? first!).at)
  const [node, ranks] = [last.node - first!.node, last.ranks - first!.ranks]
  const utilizations = counted.flatMap(({ utilization }) => (utilization === undefined ? [] : [utilization]))
  return {
    tokensPerSecond: (1000 * rows * sequence_length * groupSteps) / median(groups),
    feederShare: ranks > 0 ? node / (node + ranks) : undefined,
    utilization: utilizations.length === 0 ? undefined : Math.max(...utilizations),
    dataWaitMs: counted.reduce((sum, { waited }) => sum + waited, 0) / counted.length,
  }
}

const fileOf = (model: ModelInput): string => join(folder, `${model.vocab_size}.pbin`)

/** A packed file of random tokens. */
async function writePacked({ model }: Shape): Promise<void> {
  const draw = uniformGenerator('bench')
  const tokens = Uint16Array.from({ length: 1 << 20 }, () => Math.floor(draw() * model.vocab_size!))
  const header = encodePbinHeader({ dataBytes: tokens.byteLength, tokenBytes: 2 })
  const content = [header, new Uint8Array(tokens.buffer), writePairList([[0, tokens.byteLength]])]
  await writeFile(fileOf(model), Buffer.concat(content))
}

function byHand(loop: 'plain' | 'nanogpt', { model: input, rows, steps }: Shape): number {
  const { vocab_size, sequence_length, layers, heads, width, ffn_width } = resolveModel(input)
  const model = { vocab_size, sequence_length, layers, heads, width, ffn_width }
  const device = onGpu ? 'cuda' : 'cpu'
  const options = { loop, model, rows, steps, device, compile: onGpu, bf16: onGpu, file: fileOf(input) }
  const script = [fileURLToPath(new URL('train-torch-plain.py', import.meta.url)), JSON.stringify(options)]
  const launcher = nproc === 1 ? [] : ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', String(nproc)]
  const output = execFileSync(python, [...launcher, ...script], {
    encoding: 'utf8',
    env: { ...process.env, OMP_NUM_THREADS: String(threads) },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return JSON.parse(output.trim().split('\n').at(-1)!).medianTokensPerSecond
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2
}

type Loop = 'penstock' | 'plain' | 'nanogpt'

/** Runs each loop once, in an order that rotates each round. */
async function runRound(shape: Shape, round: number) {
  const speeds = new Map<Loop, number>()
  let figures: Figures | undefined
  const loops: readonly Loop[] = ['penstock', 'plain', 'nanogpt']
  for (const at of loops.keys()) {
    const loop = loops[(at + round) % loops.length]!
    if (loop === 'penstock') figures = await penstock(shape)
    else speeds.set(loop, byHand(loop, shape))
  }
  return { ...figures!, plain: speeds.get('plain')!, nanogpt: speeds.get('nanogpt')! }
}

function resultOf(name: string, shape: Shape, rounds: readonly Awaited<ReturnType<typeof runRound>>[]) {
  const known = (values: readonly (number | undefined)[]): number | null => {
    const numbers = values.filter(value => value !== undefined)
    return numbers.length === 0 ? null : median(numbers)
  }
  const ratios = (loop: 'plain' | 'nanogpt') => rounds.map(round => round.tokensPerSecond / round[loop])
  return {
    model: name,
    weights: parameterCount(resolveModel(shape.model)),
    tokensPerSecond: median(rounds.map(round => round.tokensPerSecond)),
    plainTokensPerSecond: median(rounds.map(round => round.plain)),
    nanogptTokensPerSecond: median(rounds.map(round => round.nanogpt)),
    toPlain: median(ratios('plain')),
    toNanogpt: median(ratios('nanogpt')),
    ratiosOfRounds: { toPlain: ratios('plain'), toNanogpt: ratios('nanogpt') },
    feederShare: known(rounds.map(round => round.feederShare)),
    utilization: known(rounds.map(round => round.utilization)),
    dataWaitMs: median(rounds.map(round => round.dataWaitMs)),
  }
}

const percent = (share: number | null): string => (share === null ? 'unknown' : `${(100 * share).toFixed(2)} %`)

try {
  const results: ReturnType<typeof resultOf>[] = []
  for (const name of flags.model ?? (nproc === 1 ? ['small', 'wide'] : ['small'])) {
    const shape = shapes[name]!
    await writePacked(shape)
    const rounds: Awaited<ReturnType<typeof runRound>>[] = []
    for (let round = 0; round < Number(flags.rounds); round++) {
      rounds.push(await runRound(shape, round))
    }
    results.push(resultOf(name, shape, rounds))
  }
  console.table(
    results.map(result => ({
      model: `${result.model}, ${(result.weights / 1e6).toFixed(1)} M`,
      'Penstock, tokens/s': Math.round(result.tokensPerSecond),
      'plain loop': Math.round(result.plainTokensPerSecond),
      "nanoGPT's shape": Math.round(result.nanogptTokensPerSecond),
      'Penstock : plain': result.toPlain.toFixed(2),
      'Penstock : nanoGPT': result.toNanogpt.toFixed(2),
      "Node's share": percent(result.feederShare),
      MFU: percent(result.utilization),
      'data wait, ms': result.dataWaitMs.toFixed(2),
    })),
  )
  const [cpu] = cpus()
  console.log(
    JSON.stringify({ bench: 'train-torch', node: process.version, cpu: cpu?.model, ...flags, threads, results }),
  )
} finally {
  await rm(folder, { recursive: true })
}
