/** What `penstock doctor` looks at. A check never throws: what cannot be found out is said to be so. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { availableParallelism, cpus, freemem, tmpdir, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { findPython } from '../../training/torch/python.js'
import { bytes } from '../output/terminal.js'

export interface Finding {
  readonly what: string
  /** `absent` is optional and only said; a `problem` keeps something from working. */
  readonly state: 'ok' | 'absent' | 'problem'
  readonly found: string
  /** What to do about it. */
  readonly mend?: string
}

const OLDEST_NODE = [20, 11] as const
const MIN_MEMORY = 2e9
const MIN_DISK = 5e9
/** Importing torch from a cold disk takes long. */
const PROGRAM_TIMEOUT_MS = 60_000
/** A module whose one function returns a vector: valid only where SIMD is known. */
const SIMD_MODULE = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
)

export async function examine(): Promise<Finding[]> {
  const findings = await Promise.all([
    node(),
    processor(),
    memory(),
    simd(),
    kernels(),
    disk('disk here', process.cwd()),
    disk('disk for temporary files', tmpdir()),
    ...python(),
    gpu(),
    nativeTensorFlow(),
    automaticBackend(),
    wandb(),
  ])
  return findings
}

function node(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const [oldestMajor, oldestMinor] = OLDEST_NODE
  const fits = major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)
  const finding = { what: 'Node', found: `${process.versions.node}, ${process.platform} ${process.arch}` }
  if (fits) return { ...finding, state: 'ok' }
  return { ...finding, state: 'problem', mend: `install Node ${OLDEST_NODE.join('.')} or newer from nodejs.org` }
}

function processor(): Finding {
  const model = cpus()[0]?.model.trim() ?? 'unknown'
  return { what: 'processor', state: 'ok', found: `${availableParallelism()} cores for this process, ${model}` }
}

function memory(): Finding {
  const finding = { what: 'memory', found: `${bytes(freemem())} free of ${bytes(totalmem())}` }
  if (totalmem() >= MIN_MEMORY) return { ...finding, state: 'ok' }
  return { ...finding, state: 'problem', mend: 'give tokenize-batches workers: 1, and a small model to train' }
}

function simd(): Finding {
  if (WebAssembly.validate(SIMD_MODULE)) return { what: 'SIMD', state: 'ok', found: 'WebAssembly vectors are known' }
  const mend = 'use a 64-bit Node on a processor with SSE4.1 or NEON, without --jitless'
  return { what: 'SIMD', state: 'problem', found: 'WebAssembly vectors are not known', mend }
}

/** What the build adds to the compiled TypeScript. */
function kernels(): Finding {
  const dist = new URL('../../', import.meta.url)
  const missing = ['tokenizer/kernel.wasm', 'training/tfjs/kernels.wasm', 'training/tfjs/update.wasm'].filter(
    name => !existsSync(fileURLToPath(new URL(name, dist))),
  )
  if (missing.length === 0) return { what: 'kernels', state: 'ok', found: 'the compiled kernels are there' }
  const mend = 'node scripts/setup.mjs --force in a clone, or install the package again'
  return { what: 'kernels', state: 'problem', found: `missing: ${missing.join(', ')}`, mend }
}

async function disk(what: string, folder: string): Promise<Finding> {
  try {
    const { bavail, bsize } = await statfs(folder)
    const finding = { what, found: `${bytes(bavail * bsize)} free in ${folder}` }
    if (bavail * bsize >= MIN_DISK) return { ...finding, state: 'ok' }
    return { ...finding, state: 'problem', mend: 'free some space: penstock plan says what a run needs' }
  } catch (error) {
    return { what, state: 'problem', found: `cannot be looked at: ${(error as Error).message}` }
  }
}

/** The interpreter that the torch engine would use, and what it knows. */
function python(): Promise<Finding>[] {
  let interpreter: string
  try {
    interpreter = findPython(undefined)
  } catch {
    const mend = 'penstock setup torch, or PENSTOCK_PYTHON=/path/to/python'
    const found = 'no Python with torch; only train --engine torch needs it'
    return [Promise.resolve({ what: 'Python with torch', state: 'absent', found, mend })]
  }
  return [pythonVersion(interpreter), torchVersion(interpreter)]
}

async function pythonVersion(interpreter: string): Promise<Finding> {
  const answer = await said(interpreter, ['-c', 'import sys; print(sys.version.split()[0])'])
  if (answer !== undefined) return { what: 'Python', state: 'ok', found: `${answer} (${interpreter})` }
  const mend = 'install Python 3.10 or newer, or set PENSTOCK_PYTHON'
  return { what: 'Python', state: 'absent', found: `${interpreter} does not run`, mend }
}

async function torchVersion(interpreter: string): Promise<Finding> {
  const probe =
    'import torch; print(torch.__version__, "with", torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU")'
  const answer = await said(interpreter, ['-c', probe])
  if (answer !== undefined) return { what: 'torch', state: 'ok', found: answer }
  const mend = 'penstock setup torch; only train --engine torch needs it'
  return { what: 'torch', state: 'absent', found: 'not installed for this Python', mend }
}

async function gpu(): Promise<Finding> {
  const answer = await said('nvidia-smi', ['--query-gpu=name,memory.total,driver_version', '--format=csv,noheader'])
  if (answer !== undefined && answer !== '') return { what: 'GPU', state: 'ok', found: answer.replaceAll('\n', '; ') }
  return { what: 'GPU', state: 'absent', found: 'none from NVIDIA; training runs on the processor' }
}

async function nativeTensorFlow(): Promise<Finding> {
  const what = 'native TensorFlow.js'
  const { nativeFolder } = await import('../../training/tfjs/native/recipe.js')
  const made = (['node-gpu', 'node'] as const).filter(kind => existsSync(nativeFolder(kind)))
  if (made.length > 0 || isInstalled('@tensorflow/tfjs-node')) {
    return { what, state: 'ok', found: `installed: train --backend ${made[0] ?? 'node'}` }
  }
  const mend = 'penstock setup tfjs-node, or setup tfjs-node-gpu'
  return { what, state: 'absent', found: 'not installed; the wasm backend needs nothing', mend }
}

function isInstalled(packageName: string): boolean {
  try {
    import.meta.resolve(packageName)
    return true
  } catch {
    return false
  }
}

/** What `train --backend auto` takes here. */
async function automaticBackend(): Promise<Finding> {
  const what = '--backend auto'
  try {
    const { chooseBackend } = await import('../../training/tfjs/choose-backend.js')
    const { backend, reason } = await chooseBackend()
    return { what, state: 'ok', found: `${backend}: ${reason}` }
  } catch (error) {
    return { what, state: 'problem', found: (error as Error).message }
  }
}

async function wandb(): Promise<Finding> {
  const answer = await said('wandb', ['--version'])
  if (answer !== undefined) return { what: 'W&B', state: 'ok', found: answer }
  const mend = 'pip install wandb; only the sink wandb with mode: online needs it'
  return { what: 'W&B', state: 'absent', found: 'the program wandb is not there', mend }
}

/** What a program prints; undefined when it is not there or fails. */
async function said(program: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(program, args, { timeout: PROGRAM_TIMEOUT_MS })
    return stdout.trim()
  } catch {
    return undefined
  }
}
