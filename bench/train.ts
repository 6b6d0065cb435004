/**
 * Tokens/s of a training step on every backend available on this machine, compared with a plain PyTorch loop
 * (bench/train-torch-plain.py), on two model shapes. Every measurement runs in a separate process, interleaved over
 * several rounds to even out the load of other programs; the fastest ten consecutive steps count. Prints a table, and
 * the same results as JSON on the last line.
 *
 * Needs a build, and PyTorch from `node scripts/setup-python.mjs torch`:
 *   npx jiti bench/train.ts [rounds, 3] [backends, such as wasm,node]
 */
import { execFileSync } from 'node:child_process'
import { availableParallelism, cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Tensor1D, Tensor2D } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import { PenstockError } from '#src/errors'
import { type BackendName, parseTraining, resolveModel } from '#src/training/options'
import { type Backend, openBackend } from '#src/training/tfjs/backends'
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
/** Slower measurements are skipped. */
const maxMs = 300_000
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

/** Tokens/s of one contender; runs in a separate process. */
async function measure({ backend, threads, steps }: Contender, { rows, ...widths }: Shape): Promise<number> {
  const model = resolveModel({ ...common, ...widths })
  const { optimizer } = parseTraining({})
  const name = backend === 'stock wasm' ? 'wasm' : (backend as BackendName)
  if (name === 'webgpu' && (await openWebgpuBackend()).isSoftware) {
    throw new PenstockError('BACKEND_UNAVAILABLE', 'the only WebGPU driver is a software renderer')
  }
  const engine = await openTfjsEngine(
    { model, optimizer, gradientClip: 1, backend: name, threads },
    backend === 'stock wasm' ? withStockKernels(await openBackend('wasm')) : undefined,
  )
  const draw = uniformGenerator('bench')
  const columns = model.sequence_length
  const ids = () => Int32Array.from({ length: rows * columns }, () => Math.floor(draw() * model.vocab_size))
  const endings: number[] = []
  for (let step = 0; step <= steps; step++) {
    await engine.step([{ inputs: ids(), targets: ids(), rows, columns }], 1e-3)
    endings.push(performance.now())
  }
  await engine.close()
  const window = Math.min(windowSteps, Math.ceil(steps / 2))
  const times = endings.slice(window).map((end, index) => end - endings[index]!)
  return (1000 * rows * columns * window) / Math.min(...times)
}

/** TensorFlow.js without Penstock's kernels; embedding gradients use one-hot products, since it has no segment sum. */
function withStockKernels(wasm: Backend): Backend {
  registerWasmKernels()()
  const operations = {
    ...composedOperations,
    embedGradient: (gradient: Tensor2D, ids: Tensor1D, rows: number) =>
      tf.tidy(() => tf.matMul<Tensor2D>(tf.cast(tf.oneHot(ids, rows), 'float32'), gradient, true, false)),
  }
  return { ...wasm, operationsFor: () => operations }
}

/** Undefined if the contender is not installed; the reason is printed to standard error. */
function inProcess(contender: Contender, shape: Shape): number | undefined {
  const threads = String(contender.threads)
  const env = { ...process.env, OMP_NUM_THREADS: threads, TF_NUM_INTRAOP_THREADS: threads, TF_NUM_INTEROP_THREADS: '1' }
  const run = (command: string, args: readonly string[]): number => {
    const output = execFileSync(command, args, {
      encoding: 'utf8',
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: maxMs,
    })
    return JSON.parse(output.trim().split('\n').at(-1)!).tokensPerSecond
  }
  try {
    if (contender.backend === 'torch') {
      const { rows, ...widths } = shape
      const options = {
        loop: 'plain',
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
    const jiti = fileURLToPath(new URL('../node_modules/jiti/lib/jiti-cli.mjs', import.meta.url))
    return run(process.execPath, [jiti, process.argv[1]!, 'measure', JSON.stringify({ contender, shape })])
  } catch (error) {
    const { message, stderr } = error as Error & { stderr?: string }
    const reason = /PenstockError: (.*)/.exec(stderr ?? '')?.[1] ?? message.split('\n')[0]
    process.stderr.write(`skipping ${contender.name}: ${reason}\n`)
    return undefined
  }
}

/** Interleaves the contenders, so that load from other programs affects all of them. */
function compare(shape: Shape, rounds: number, chosen: readonly Contender[]): Map<string, number> {
  const best = new Map<string, number>()
  let left = chosen
  for (let round = 0; round < rounds; round++) {
    left = left.filter(contender => {
      const found = inProcess(contender, shape)
      if (found !== undefined) {
        best.set(contender.name, Math.max(found, best.get(contender.name) ?? 0))
      }
      return found !== undefined
    })
  }
  return best
}

function report(rounds: number, names: readonly string[]): void {
  const chosen = contenders.filter(
    ({ name, backend }) => names.length === 0 || backend === 'torch' || names.some(part => name.startsWith(part)),
  )
  const results = shapes.map(shape => ({
    shape: { ...common, ...shape },
    tokensPerSecond: compare(shape, rounds, chosen),
  }))
  const titles = shapes.map(({ vocab_size, sequence_length, rows }) => `V=${vocab_size} T=${sequence_length} B=${rows}`)
  const torchNames = contenders.filter(({ backend }) => backend === 'torch').map(({ name }) => name)
  const lines = chosen
    .filter(({ name }) => results.some(({ tokensPerSecond }) => tokensPerSecond.has(name)))
    .map(({ name }) => {
      const cells = results.flatMap(({ tokensPerSecond }) => {
        const own = tokensPerSecond.get(name)
        const ratios = torchNames.map(torch => ratio(own, tokensPerSecond.get(torch)))
        return [own?.toFixed(0) ?? '-', ratios.join(' / ')]
      })
      return `| ${[name, ...cells].join(' | ')} |`
    })
  const heads = titles.flatMap(title => [`${title}, tokens/s`, `of PyTorch, ${threadCounts.join(' / ')} threads`])
  const rule = `|${' --- |'.repeat(heads.length + 1)}`
  process.stdout.write(
    [
      `${cpus()[0]?.model}, ${availableParallelism()} cores; C=128 L=2`,
      '',
      `| | ${heads.join(' | ')} |`,
      rule,
      ...lines,
      '',
      '',
    ].join('\n'),
  )
  const json = results.map(({ shape, tokensPerSecond }) => ({
    shape,
    tokensPerSecond: Object.fromEntries(tokensPerSecond),
  }))
  process.stdout.write(`${JSON.stringify({ processor: cpus()[0]?.model, node: process.version, results: json })}\n`)
}

function ratio(own: number | undefined, other: number | undefined): string {
  return own === undefined || other === undefined ? '-' : (own / other).toFixed(2)
}

const [first = '3', second] = process.argv.slice(2)
if (first === 'measure') {
  const { contender, shape } = JSON.parse(second!)
  process.stdout.write(`${JSON.stringify({ tokensPerSecond: await measure(contender, shape) })}\n`, () =>
    process.exit(),
  )
} else {
  report(Number(first), second?.split(',') ?? [])
}
