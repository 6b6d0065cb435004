/** The checks of `penstock doctor`. A check never throws; a failed check is reported as a finding. */
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
  /** `absent` means an optional part is not installed; a `problem` prevents something from working. */
  readonly state: 'ok' | 'absent' | 'problem'
  readonly found: string
  /** How to fix it. */
  readonly remedy?: string
}

const MIN_NODE_VERSION = [20, 11] as const
const MIN_MEMORY = 2e9
const MIN_DISK = 5e9
/** Importing torch from a cold disk is slow. */
const COMMAND_TIMEOUT_MS = 60_000
/** A module with one function that returns a vector: valid only where SIMD is supported. */
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
  const [minMajor, minMinor] = MIN_NODE_VERSION
  const isSupported = major > minMajor || (major === minMajor && minor >= minMinor)
  const finding = { what: 'Node', found: `${process.versions.node}, ${process.platform} ${process.arch}` }
  if (isSupported) return { ...finding, state: 'ok' }
  return {
    ...finding,
    state: 'problem',
    remedy: `install Node.js ${MIN_NODE_VERSION.join('.')} or newer from nodejs.org`,
  }
}

function processor(): Finding {
  const model = cpus()[0]?.model.trim() ?? 'unknown'
  return { what: 'processor', state: 'ok', found: `${availableParallelism()} cores for this process, ${model}` }
}

function memory(): Finding {
  const finding = { what: 'memory', found: `${bytes(freemem())} free of ${bytes(totalmem())}` }
  if (totalmem() >= MIN_MEMORY) return { ...finding, state: 'ok' }
  return { ...finding, state: 'problem', remedy: 'set workers: 1 for tokenize-batches, and train a small model' }
}

function simd(): Finding {
  if (WebAssembly.validate(SIMD_MODULE)) return { what: 'SIMD', state: 'ok', found: 'WebAssembly SIMD is supported' }
  const remedy = 'use 64-bit Node.js on a processor with SSE4.1 or NEON, without --jitless'
  return { what: 'SIMD', state: 'problem', found: 'WebAssembly SIMD is not supported', remedy }
}

/** The WebAssembly files that the build adds to the compiled TypeScript. */
function kernels(): Finding {
  const dist = new URL('../../', import.meta.url)
  const missing = ['tokenizer/kernel.wasm', 'training/tfjs/kernels.wasm', 'training/tfjs/update.wasm'].filter(
    name => !existsSync(fileURLToPath(new URL(name, dist))),
  )
  if (missing.length === 0) return { what: 'kernels', state: 'ok', found: 'the compiled kernels are installed' }
  const remedy = 'run node scripts/setup.mjs --force in a clone, or reinstall the package'
  return { what: 'kernels', state: 'problem', found: `missing: ${missing.join(', ')}`, remedy }
}

async function disk(what: string, folder: string): Promise<Finding> {
  try {
    const { bavail, bsize } = await statfs(folder)
    const finding = { what, found: `${bytes(bavail * bsize)} free in ${folder}` }
    if (bavail * bsize >= MIN_DISK) return { ...finding, state: 'ok' }
    return { ...finding, state: 'problem', remedy: 'free some disk space; penstock plan shows how much a run needs' }
  } catch (error) {
    return { what, state: 'problem', found: `cannot be checked: ${(error as Error).message}` }
  }
}

/** The interpreter that the torch engine would use, and its torch. */
function python(): Promise<Finding>[] {
  let interpreter: string
  try {
    interpreter = findPython(undefined)
  } catch {
    const remedy = 'run penstock setup torch, or set PENSTOCK_PYTHON=/path/to/python'
    const found = 'no Python with torch; needed only for train --engine torch'
    return [Promise.resolve({ what: 'Python with torch', state: 'absent', found, remedy })]
  }
  return [pythonVersion(interpreter), torchVersion(interpreter)]
}

async function pythonVersion(interpreter: string): Promise<Finding> {
  const answer = await outputOf(interpreter, ['-c', 'import sys; print(sys.version.split()[0])'])
  if (answer !== undefined) return { what: 'Python', state: 'ok', found: `${answer} (${interpreter})` }
  const remedy = 'install Python 3.10 or newer, or set PENSTOCK_PYTHON'
  return { what: 'Python', state: 'absent', found: `${interpreter} does not run`, remedy }
}

async function torchVersion(interpreter: string): Promise<Finding> {
  const probe =
    'import torch; print(torch.__version__, "with", torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU")'
  const answer = await outputOf(interpreter, ['-c', probe])
  if (answer !== undefined) return { what: 'torch', state: 'ok', found: answer }
  const remedy = 'run penstock setup torch; needed only for train --engine torch'
  return { what: 'torch', state: 'absent', found: 'not installed for this Python', remedy }
}

async function gpu(): Promise<Finding> {
  const answer = await outputOf('nvidia-smi', ['--query-gpu=name,memory.total,driver_version', '--format=csv,noheader'])
  if (answer !== undefined && answer !== '') return { what: 'GPU', state: 'ok', found: answer.replaceAll('\n', '; ') }
  return { what: 'GPU', state: 'absent', found: 'no NVIDIA GPU; training runs on the CPU' }
}

async function nativeTensorFlow(): Promise<Finding> {
  const what = 'native TensorFlow.js'
  const { nativeFolder } = await import('../../training/tfjs/native/recipe.js')
  const made = (['node-gpu', 'node'] as const).filter(kind => existsSync(nativeFolder(kind)))
  if (made.length > 0 || isInstalled('@tensorflow/tfjs-node')) {
    return { what, state: 'ok', found: `installed; use it with train --backend ${made[0] ?? 'node'}` }
  }
  const remedy = 'run penstock setup tfjs-node or penstock setup tfjs-node-gpu'
  return { what, state: 'absent', found: 'not installed; the wasm backend works without it', remedy }
}

function isInstalled(packageName: string): boolean {
  try {
    import.meta.resolve(packageName)
    return true
  } catch {
    return false
  }
}

/** The backend that `train --backend auto` chooses on this machine. */
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
  const answer = await outputOf('wandb', ['--version'])
  if (answer !== undefined) return { what: 'W&B', state: 'ok', found: answer }
  const remedy = 'run pip install wandb; needed only for the wandb sink with mode: online'
  return { what: 'W&B', state: 'absent', found: 'the wandb command was not found', remedy }
}

/** Standard output of a command; undefined if it is not installed or fails. */
async function outputOf(command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(command, args, { timeout: COMMAND_TIMEOUT_MS })
    return stdout.trim()
  } catch {
    return undefined
  }
}
