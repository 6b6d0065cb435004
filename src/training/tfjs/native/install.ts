/**
 * Installs a native backend in the user's cache folder: downloads TensorFlow's library, compiles the binding of
 * @tensorflow/tfjs-node against it, and tests it in a separate process. The work folder `NAME.part` is reused by a later
 * attempt; the finished folder is renamed, so that it is complete or absent.
 */
import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rm, statfs, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PenstockError } from '../../../errors.js'
import { lockFolder } from '../../../files/cache-folder.js'
import { downloadRequirements, downloadWheel } from './download.js'
import { requirePrograms, runProgram } from './programs.js'
import {
  bindingFile,
  bindingPackage,
  cudaLibraries,
  libraryEntries,
  type NativeKind,
  nativeFolder,
  type Wheel,
  wheels,
} from './recipe.js'
import { readZipText, unpackZip } from './unpack.js'

export interface InstalledBackend {
  readonly folder: string
  /** False when it was installed before. */
  readonly made: boolean
}

/** Called at the start of each step and again, with its duration, at its end. */
export type OnStep = (what: string, seconds?: number) => void

/**
 * @throws UNSUPPORTED for another platform, PEER_MISSING for a missing program, FILE_UNWRITABLE without disk space,
 * FILE_LOCKED while another process installs the same one, FILE_UNREADABLE, WORKER_FAILED
 */
export async function installNativeBackend(kind: NativeKind, onStep: OnStep): Promise<InstalledBackend> {
  const folder = nativeFolder(kind)
  if (existsSync(folder)) {
    return { folder, made: false }
  }
  requirePlatform()
  requirePrograms()
  await mkdir(dirname(folder), { recursive: true })
  const unlock = lockFolder(folder)
  try {
    const work = `${folder}.part`
    await mkdir(work, { recursive: true })
    const made = await build(kind, work, onStep)
    await rename(made, folder)
    await rm(work, { recursive: true })
  } finally {
    unlock()
  }
  return { folder, made: true }
}

/** @returns the finished folder */
async function build(kind: NativeKind, work: string, onStep: OnStep): Promise<string> {
  const step = async <T>(what: string, action: () => T | Promise<T>): Promise<T> => {
    onStep(what)
    const startedAt = performance.now()
    const result = await action()
    onStep(what, (performance.now() - startedAt) / 1000)
    return result
  }
  const wheel = wheels[kind]
  const made = join(work, 'package')
  await requireDiskSpace(work, wheel)
  const file = await step(`Downloading ${wheel.requirement}`, () => downloadWheel(wheel, work))
  await rm(made, { recursive: true, force: true })
  await step(`Fetching ${bindingPackage}`, () => fetchPackage(work))
  await step('Unpacking the library', () => unpackLibrary(file, made))
  if (kind === 'node-gpu') {
    await step("Downloading and unpacking NVIDIA's libraries", () => addCuda(file, work, made))
  }
  await step('Compiling the binding', () => compileBinding(made, join(work, 'build.log')))
  await step('Testing it', () => testBackend(kind, made))
  return made
}

/**
 * Checks what an installation needs on this machine, without downloading anything.
 * @throws UNSUPPORTED for another platform, PEER_MISSING for a missing program or driver, FILE_UNWRITABLE without disk space
 */
export async function requirePreconditions(kind: NativeKind): Promise<void> {
  requirePlatform()
  requirePrograms()
  const cache = dirname(nativeFolder(kind))
  await mkdir(cache, { recursive: true })
  await requireDiskSpace(cache, wheels[kind])
  if (kind === 'node-gpu' && !existsSync('/proc/driver/nvidia/version')) {
    throw new PenstockError(
      'PEER_MISSING',
      "NVIDIA's driver is not loaded: install it, or use the backend node or wasm",
    )
  }
}

/** The wheels contain libraries for one platform; elsewhere npm's package may work. */
function requirePlatform(): void {
  const { platform, arch } = process
  if (platform !== 'linux' || arch !== 'x64') {
    const elsewhere = 'elsewhere `npm install @tensorflow/tfjs-node@4.22.0` may work, and the backend wasm does'
    throw new PenstockError(
      'UNSUPPORTED',
      `the native backend can only be built on Linux x64, not ${platform} ${arch}; ${elsewhere}`,
    )
  }
  const report = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
  if (report.header.glibcVersionRuntime === undefined) {
    const message =
      "TensorFlow's library needs glibc, and this system has another C library (musl?): the backend wasm works"
    throw new PenstockError('UNSUPPORTED', message)
  }
}

async function requireDiskSpace(folder: string, { diskBytes }: Wheel): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  if (bavail * bsize < diskBytes) {
    const [has, needs] = [bavail * bsize, diskBytes].map(bytes => `${(bytes / 1e9).toFixed(1)} GB`)
    const message = `not enough disk space: ${has} free, ${needs} needed; set XDG_CACHE_HOME to use another place`
    throw new PenstockError('FILE_UNWRITABLE', message, { file: folder })
  }
}

/** Uses npm's configuration; npm verifies the package's hash. */
async function fetchPackage(work: string): Promise<void> {
  const remedy = 'see the output of npm above; check that the npm registry is reachable'
  runProgram('npm', ['pack', '--silent', '--pack-destination', work, bindingPackage], { remedy })
  const archive = (await readdir(work)).find(name => name.endsWith('.tgz'))!
  runProgram('tar', ['-xzf', archive], { cwd: work, remedy: 'check the disk space, and that tar is installed' })
}

async function unpackLibrary(wheel: string, made: string): Promise<void> {
  const inLib = (name: string) => join(made, 'deps', 'lib', name)
  await unpackZip(wheel, name => {
    if (!libraryEntries.test(name)) {
      return undefined
    }
    const header = name.split('/include/')[1]
    return header === undefined ? inLib(basename(name)) : join(made, 'deps', 'include', header)
  })
  // Names for the linker; the versioned names are used at run time.
  await symlink('libtensorflow_cc.so.2', inLib('libtensorflow.so'))
  await symlink('libtensorflow_framework.so.2', inLib('libtensorflow_framework.so'))
}

/** The wheel's metadata lists the NVIDIA packages it needs, as an extra. */
async function addCuda(wheel: string, work: string, made: string): Promise<void> {
  const metadata = await readZipText(wheel, name => name.endsWith('.dist-info/METADATA'))
  const folder = join(work, 'cuda')
  for (const file of await downloadRequirements(cudaRequirements(metadata), folder)) {
    await unpackZip(file, name => (cudaLibraries.test(name) ? join(made, 'deps', name) : undefined))
  }
  await rm(folder, { recursive: true })
}

/** Requirements of the extra `and-cuda`, in pip's syntax. */
export function cudaRequirements(metadata: string): string[] {
  const lines = metadata.matchAll(/^Requires-Dist: (nvidia-[^;]+?) *; *extra == ['"]and-cuda['"]/gm)
  return [...lines].map(match => match[1]!.replaceAll(/[ ()]/g, ''))
}

/** Uses the node-gyp that comes with npm, and the headers of this Node if they are installed. */
async function compileBinding(made: string, logFile: string): Promise<void> {
  const output = dirname(bindingFile(made))
  const target = `--module=${bindingFile(made)} --module_name=tfjs_binding --module_path=${output}`
  const command = `node-gyp configure build ${target} --napi_build_version=8`
  const prefix = dirname(dirname(process.execPath))
  runProgram('npm', ['exec', '--offline', '-c', command], {
    cwd: made,
    env: existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? { npm_config_nodedir: prefix } : {},
    logFile,
    remedy: `see the compiler's output in ${logFile}`,
  })
  for (const unneeded of ['build', join('deps', 'include'), 'src', 'binding']) {
    await rm(join(made, unneeded), { recursive: true, force: true })
  }
}

/** Runs in a separate process, because a library built for another CPU crashes its process. */
function testBackend(kind: NativeKind, made: string): void {
  const script = fileURLToPath(new URL('self-test.js', import.meta.url))
  runProgram(process.execPath, [script, kind, made], {
    remedy: 'the library was built but gives wrong results; use the backend wasm',
  })
}
