/**
 * Speed of training with the torch engine beside two loops written by hand, on the same model, in turns, because other
 * programs may share the machine: a plain one, and one in the shape of nanoGPT's. Prints tokens/s, the ratios, on a known
 * GPU the share of what it could compute (MFU), how long devices waited for data, and Node's share of all processor time.
 * Run it after a build; on a busy machine with OMP_NUM_THREADS=1, which keeps threads from waiting for each other:
 * `npx jiti bench/train-torch.ts [--nproc 2] [--device cuda] [--model small|wide|124M|1.3B] [--rounds 3]`.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
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
const { values: flags } = parseArgs({
  options: {
    nproc: { type: 'string', default: '1' },
    device: { type: 'string', default: 'cpu' },
    model: { type: 'string', multiple: true },
    rounds: { type: 'string', default: '3' },
  },
})
const nproc = Number(flags.nproc)
const onGpu = flags.device === 'cuda'
const python = findPython(undefined)
const folder = await mkdtemp(join(tmpdir(), 'penstock-bench-'))

interface Figures {
  /** Over the fastest ten steps in a row. */
  readonly tokensPerSecond: number
  /** Node's share of the processor time of Node and its ranks; undefined where that cannot be read. */
  readonly feederShare: number | undefined
  readonly utilization: number | undefined
  /** Of a step, on average. */
  readonly dataWaitMs: number
}

/** From a packed file on, without the first quarter of the steps. */
async function ours({ model, rows, steps }: Shape): Promise<Figures> {
  const { sequence_length } = resolveModel(model)
  const torch = { nproc, device: onGpu ? 'cuda' : 'cpu', compile: onGpu } as const
  const trainer = feedTrainer({ engine: 'torch', torch, model, batch_size: rows, steps, log_every_steps: 1 })
  const endings: { at: number; node: number; ranks: number; waited: number; utilization: number | undefined }[] = []
  trainer.on('report', event => {
    if (event.kind !== 'step') return
    const { user, system } = process.cpuUsage()
    endings.push({
      at: performance.now(),
      node: (user + system) / 1e6,
      // Looked at only where it is used: it takes time itself.
      ranks: event.step === steps / 4 || event.step === steps ? ranksProcessorSeconds() : 0,
      waited: event.dataWaitMs ?? 0,
      utilization: event.utilization,
    })
  })
  await pipeline(shuffleSamples({ path: fileOf(model), sequence_length, batch_size: rows, epochs: 'endless' }), trainer)
  const [first, ...counted] = endings.slice(steps / 4 - 1)
  const last = counted.at(-1)!
  const windows = endings.slice(steps / 4).flatMap((ending, index, all) => {
    const before = all[index - windowSteps]
    return before === undefined ? [] : [ending.at - before.at]
  })
  const [node, ranks] = [last.node - first!.node, last.ranks - first!.ranks]
  const utilizations = counted.flatMap(({ utilization }) => (utilization === undefined ? [] : [utilization]))
  return {
    tokensPerSecond: (1000 * rows * sequence_length * windowSteps) / Math.min(...windows),
    feederShare: ranks > 0 ? node / (node + ranks) : undefined,
    utilization: utilizations.length === 0 ? undefined : Math.max(...utilizations),
    dataWaitMs: counted.reduce((sum, { waited }) => sum + waited, 0) / counted.length,
  }
}

/** Processor time of all processes below this one, as Linux counts it; 0 elsewhere. */
function ranksProcessorSeconds(): number {
  if (process.platform !== 'linux') return 0
  const processes = readdirSync('/proc').flatMap(name => {
    try {
      // The name of the program, in brackets, may hold anything.
      const fields = readFileSync(`/proc/${name}/stat`, 'latin1').split(') ').at(-1)!.split(' ')
      return [{ pid: Number(name), parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) }]
    } catch {
      return []
    }
  })
  const below = (pid: number): number =>
    processes.filter(({ parent }) => parent === pid).reduce((sum, child) => sum + child.ticks + below(child.pid), 0)
  return below(process.pid) / 100
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
  const threads = Math.max(1, Math.floor(availableParallelism() / nproc))
  const output = execFileSync(python, [...launcher, ...script], {
    encoding: 'utf8',
    env: { ...process.env, OMP_NUM_THREADS: process.env.OMP_NUM_THREADS ?? String(threads) },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return JSON.parse(output.trim().split('\n').at(-1)!).tokensPerSecond
}

const increasing = (values: readonly number[], digits: number): string =>
  [...values]
    .sort((a, b) => a - b)
    .map(value => value.toFixed(digits))
    .join(' ')

const perCent = (values: readonly (number | undefined)[]): string => {
  const known = values.flatMap(value => (value === undefined ? [] : [100 * value]))
  return known.length === 0 ? 'unknown' : increasing(known, 2)
}

try {
  for (const name of flags.model ?? ['small', 'wide']) {
    const shape = shapes[name]!
    await writePacked(shape)
    const rounds: (Figures & { plain: number; nanogpt: number })[] = []
    for (let round = 0; round < Number(flags.rounds); round++) {
      rounds.push({ ...(await ours(shape)), plain: byHand('plain', shape), nanogpt: byHand('nanogpt', shape) })
    }
    const best = (key: 'tokensPerSecond' | 'plain' | 'nanogpt') =>
      Math.max(...rounds.map(round => round[key])).toFixed(0)
    const ratios = (key: 'plain' | 'nanogpt') =>
      increasing(
        rounds.map(round => round.tokensPerSecond / round[key]),
        2,
      )
    console.log(
      [
        `${name}, ${(parameterCount(resolveModel(shape.model)) / 1e6).toFixed(1)} million weights, ranks: ${nproc}, ${flags.device}`,
        `tokens/s, best round: ours ${best('tokensPerSecond')}, plain loop ${best('plain')}, nanoGPT's shape ${best('nanogpt')}`,
        `ratios of the rounds: to the plain loop ${ratios('plain')}, to nanoGPT's shape ${ratios('nanogpt')}`,
        `share of what the devices could compute (MFU), per cent: ${perCent(rounds.map(round => round.utilization))}`,
        `waiting for data, ms of a step: ${increasing(
          rounds.map(round => round.dataWaitMs),
          2,
        )}`,
        `Node's share of processor time, per cent: ${perCent(rounds.map(round => round.feederShare))}`,
      ].join('\n  '),
    )
  }
} finally {
  await rm(folder, { recursive: true })
}
