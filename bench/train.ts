/**
 * Tokens/s of a training step on every backend that loads here, beside a plain PyTorch loop (bench/train-torch-plain.py),
 * on two model shapes, in the same run: each in a process of its own, in turns, because other programs share the machine;
 * the fastest ten steps in a row count. Tokens per second of processor time, all threads together, are what is left to
 * compare on a machine too busy for the clock. Prints a table, and the same as JSON on its last line.
 *
 * Needs a build; PyTorch from `node scripts/setup-python.mjs torch`: `npx jiti bench/train.ts [rounds, 3] [only names
 * that contain this]`.
 */
import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Tensor1D, Tensor2D } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import { PenstockError } from '#src/errors'
import { type Backend, openBackend } from '#src/training/backends'
import { type BackendName, parseTraining, resolveModel } from '#src/training/options'
import { openTfjsEngine } from '#src/training/tfjs/engine'
import { composedOperations } from '#src/training/tfjs/operations'
import { registerWasmKernels } from '#src/training/tfjs/wasm-kernels'
import { openWebgpuBackend } from '#src/training/tfjs/webgpu-backend'
import { findPython } from '#src/training/torch/python'
import { uniformGenerator } from '#src/training/weights'

interface Shape {
  readonly vocab_size: number
  readonly sequence_length: number
  readonly rows: number
}

const shapes: readonly Shape[] = [
  { vocab_size: 512, sequence_length: 128, rows: 8 },
  { vocab_size: 4096, sequence_length: 64, rows: 4 },
]
const common = { layers: 2, heads: 4, width: 128, ffn_width: 256 }

interface Contender {
  readonly name: string
  readonly backend: BackendName | 'torch' | 'stock wasm'
  readonly threads: number
  readonly steps: number
}

const windowSteps = 10
const threadCounts = [...new Set([1, Math.min(2, availableParallelism())])]
const contenders: readonly Contender[] = [
  ...onThreads('PyTorch', 'torch', 100),
  ...onThreads('wasm', 'wasm', 60),
  { name: 'wasm, stock kernels', backend: 'stock wasm', threads: 1, steps: 5 },
  ...onThreads('node', 'node', 60),
  { name: 'node-gpu', backend: 'node-gpu', threads: 1, steps: 60 },
  { name: 'webgpu', backend: 'webgpu', threads: 1, steps: 60 },
]

function onThreads(name: string, backend: Contender['backend'], steps: number): Contender[] {
  return threadCounts.map(threads => ({
    name: `${name}, ${threads} thread${threads > 1 ? 's' : ''}`,
    backend,
    threads,
    steps,
  }))
}

interface Speed {
  readonly tokensPerSecond: number
  readonly tokensPerCpuSecond: number
}

/** The speed of one contender; runs in a process of its own. */
async function measure({ backend, threads, steps }: Contender, { rows, ...widths }: Shape): Promise<Speed> {
  const model = resolveModel({ ...common, ...widths })
  const { optimizer } = parseTraining({})
  const name = backend === 'stock wasm' ? 'wasm' : (backend as BackendName)
  const opened = await openBackend(name)
  if (name === 'webgpu' && (await openWebgpuBackend()).isSoftware) {
    throw new PenstockError('BACKEND_UNAVAILABLE', 'its only driver computes on the processor')
  }
  const engine = await openTfjsEngine(
    { model, optimizer, gradientClip: 1, backend: name, threads },
    backend === 'stock wasm' ? withStockKernels(opened) : opened,
  )
  const draw = uniformGenerator('bench')
  const columns = model.sequence_length
  const ids = () => Int32Array.from({ length: rows * columns }, () => Math.floor(draw() * model.vocab_size))
  const endings: { readonly clock: number; readonly cpu: number }[] = []
  for (let step = 0; step <= steps; step++) {
    await engine.step([{ inputs: ids(), targets: ids(), rows, columns }], 1e-3)
    const { user, system } = process.cpuUsage()
    endings.push({ clock: performance.now() / 1000, cpu: (user + system) / 1e6 })
  }
  await engine.close()
  const window = Math.min(windowSteps, Math.ceil(steps / 2))
  const fastest = (key: 'clock' | 'cpu') =>
    (rows * columns * window) / Math.min(...endings.slice(window).map((end, index) => end[key] - endings[index]![key]))
  return { tokensPerSecond: fastest('clock'), tokensPerCpuSecond: fastest('cpu') }
}

/** What runs without our kernels: the stock product, and embeddings by one-hot products for want of a segment sum. */
function withStockKernels(wasm: Backend): Backend {
  registerWasmKernels()()
  const operations = {
    ...composedOperations,
    embedGradient: (gradient: Tensor2D, ids: Tensor1D, rows: number) =>
      tf.tidy(() => tf.matMul<Tensor2D>(tf.cast(tf.oneHot(ids, rows), 'float32'), gradient, true, false)),
  }
  return { ...wasm, operationsFor: () => operations }
}

/** Undefined, and the reason on standard error, for what is not installed here. */
function inProcess(contender: Contender, shape: Shape): Speed | undefined {
  const threads = String(contender.threads)
  const env = { ...process.env, OMP_NUM_THREADS: threads, TF_NUM_INTRAOP_THREADS: threads, TF_NUM_INTEROP_THREADS: '1' }
  const run = (command: string, args: readonly string[]): Speed => {
    const output = execFileSync(command, args, { encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'pipe'] })
    return JSON.parse(output.trim().split('\n').at(-1)!)
  }
  try {
    if (contender.backend === 'torch') {
      const { rows, ...widths } = shape
      const options = {
        model: { ...common, ...widths },
        rows,
        steps: contender.steps,
        device: 'cpu',
        compile: false,
        bf16: false,
      }
      const script = fileURLToPath(new URL('train-torch-plain.py', import.meta.url))
      return run(findPython(undefined), [script, JSON.stringify(options)])
    }
    return run(process.execPath, [process.argv[1]!, 'measure', JSON.stringify({ contender, shape })])
  } catch (error) {
    const { message, stderr } = error as Error & { stderr?: string }
    const reason = /PenstockError: (.*)/.exec(stderr ?? '')?.[1] ?? message
    process.stderr.write(`${contender.name} is left out: ${reason}\n`)
    return undefined
  }
}

/** The best of each; rounds in turns, so that a busy spell hits all alike. */
function compare(shape: Shape, rounds: number, chosen: readonly Contender[]): Map<string, Speed> {
  const best = new Map<string, Speed>()
  let left = chosen
  for (let round = 0; round < rounds; round++) {
    left = left.filter(contender => {
      const found = inProcess(contender, shape)
      const before = best.get(contender.name) ?? { tokensPerSecond: 0, tokensPerCpuSecond: 0 }
      if (found !== undefined) {
        best.set(contender.name, {
          tokensPerSecond: Math.max(found.tokensPerSecond, before.tokensPerSecond),
          tokensPerCpuSecond: Math.max(found.tokensPerCpuSecond, before.tokensPerCpuSecond),
        })
      }
      return found !== undefined
    })
  }
  return best
}

function report(rounds: number, part: string): void {
  const chosen = contenders.filter(({ name, backend }) => backend === 'torch' || name.includes(part))
  const results = shapes.map(shape => ({ shape: { ...common, ...shape }, speeds: compare(shape, rounds, chosen) }))
  const titles = shapes.map(({ vocab_size, sequence_length, rows }) => `V=${vocab_size} T=${sequence_length} B=${rows}`)
  const heads = titles.flatMap(title => [
    `${title}, tokens/s`,
    `of PyTorch, ${threadCounts.join(' / ')} threads`,
    'per CPU second',
  ])
  const torchNames = contenders.filter(({ backend }) => backend === 'torch').map(({ name }) => name)
  const cellsOf = (name: string, speeds: ReadonlyMap<string, Speed>): string[] => {
    const own = speeds.get(name)
    const ratios = torchNames.map(torch => ratio(own, speeds.get(torch)))
    return [whole(own?.tokensPerSecond), ratios.join(' / '), whole(own?.tokensPerCpuSecond)]
  }
  const lines = chosen
    .filter(({ name }) => results.some(({ speeds }) => speeds.has(name)))
    .map(({ name }) => `| ${[name, ...results.flatMap(({ speeds }) => cellsOf(name, speeds))].join(' | ')} |`)
  const machine = `${cpus()[0]?.model}, ${availableParallelism()} cores, Node ${process.versions.node}; C=128 L=2`
  const table = [machine, '', `| | ${heads.join(' | ')} |`, `|${' --- |'.repeat(heads.length + 1)}`, ...lines, '']
  process.stdout.write(`${table.join('\n')}\n`)
  const json = results.map(({ shape, speeds }) => ({ shape, speeds: Object.fromEntries(speeds) }))
  process.stdout.write(`${JSON.stringify({ machine, results: json })}\n`)
}

function whole(value: number | undefined): string {
  return value?.toFixed(0) ?? '-'
}

function ratio(own: Speed | undefined, other: Speed | undefined): string {
  return own === undefined || other === undefined ? '-' : (own.tokensPerSecond / other.tokensPerSecond).toFixed(2)
}

const [first = '3', second] = process.argv.slice(2)
if (first === 'measure') {
  const { contender, shape } = JSON.parse(second!)
  process.stdout.write(`${JSON.stringify(await measure(contender, shape))}\n`, () => process.exit())
} else {
  report(Number(first), second ?? '')
}
