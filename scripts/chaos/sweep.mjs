/**
 * The fault sweep: at every file system call of a command, the process is killed or the call fails with a realistic error.
 * Then: no incorrect file under a final name, sources unchanged, an error that names the file, no hang; and the same
 * command run again, without any cleanup, writes the bytes of a fault-free run.
 */
import { execFileSync, fork, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ERRNO = { EIO: 5, EACCES: 13, EMFILE: 24, ENOSPC: 28, EDQUOT: 122 }
/** Faults by kind of call; fault-shim.c lists the letters. */
const FAULTS = {
  o: ['kill', 'EMFILE', 'EACCES'],
  r: ['kill', 'EIO', 'short'],
  w: ['kill', 'ENOSPC', 'EDQUOT', 'EIO', 'short'],
  t: ['kill', 'EIO'],
  f: ['kill', 'EIO', 'ENOSPC'],
  c: ['kill', 'EIO', 'EDQUOT'],
  n: ['kill', 'EACCES', 'ENOSPC'],
  u: ['kill', 'EACCES', 'EIO'],
  m: ['kill', 'EACCES', 'ENOSPC'],
  s: ['kill', 'EACCES', 'ENOSPC'],
}
const HANG_MS = 60_000
const LEFT_BEHIND = /\.(part|lock|journal)$|\.partial$/

/** Compiles the shim. @returns the path of the library */
export function buildShim(source, folder) {
  const shim = join(folder, 'fault-shim.so')
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', shim, source, '-ldl'], { stdio: 'inherit' })
  return shim
}

/** Repeatedly runs one command in one folder. */
export class Sweep {
  /** @param command a case of `cases` */
  constructor({ name, command, out, inputs, root, shim, again }) {
    Object.assign(this, { name, ...command, out, inputs, root, shim, again })
    this.sources = snapshot(inputs)
    /** Initial content of the output folder. */
    this.start = `${out}.start`
    /** States of the folder from which a second run is known to succeed. */
    this.recovered = new Set()
  }

  /** Runs without faults to get the expected files. @returns every point at which a fault can be injected */
  async begin() {
    empty(this.out)
    this.before?.()
    this.keepStart()
    let calls = await this.runWithoutFaults()
    this.expected = this.results()
    if (this.interrupted !== undefined) {
      this.clear()
      await this.run({ CHAOS_AT: String(Math.floor(calls.length * this.interrupted)), CHAOS_FAULT: 'kill' })
      this.keepStart()
      if (Object.keys(this.old).length === 0) throw new Error(`${this.name}: the killed run left nothing to resume`)
      calls = await this.runWithoutFaults()
      if (!sameFiles(this.expected, this.results())) throw new Error(`${this.name}: the resumed run has another result`)
    }
    return calls.flatMap((call, index) => FAULTS[call[0]].map(fault => ({ at: index + 1, call, fault })))
  }

  /** Makes the current content of the folder the initial content of every run. */
  keepStart() {
    rmSync(this.start, { recursive: true, force: true })
    renameSync(this.out, this.start)
    this.old = snapshot(this.start)
  }

  /** @returns the calls of the run */
  async runWithoutFaults() {
    this.clear()
    const calls = `${this.out}.calls`
    const { code, err } = await this.run({ CHAOS_CALLS: calls })
    if (code !== 0) throw new Error(`${this.name} fails without faults: ${err}`)
    return readFileSync(calls, 'utf8').trim().split('\n')
  }

  /** The output files, except logs. */
  results() {
    return Object.fromEntries(Object.entries(snapshot(this.out)).filter(([file]) => !this.isLog?.(file)))
  }

  /** @returns the problem; undefined if there is none */
  async tryPoint({ at, fault }) {
    this.clear()
    const started = performance.now()
    const result = await this.run({ CHAOS_AT: String(at), CHAOS_FAULT: String(ERRNO[fault] ?? fault) })
    const ms = performance.now() - started
    return this.judge(fault, result, ms) ?? (await this.runAgain())
  }

  judge(fault, { code, signal, err }, ms) {
    if (ms >= HANG_MS) return 'hangs'
    const found = this.results()
    for (const [file, hash] of Object.entries(found)) {
      if (isTemporary(file)) continue
      // Intermediate files, such as older checkpoints, are not among the expected ones.
      const isExpected = file in this.expected
      const isCorrect = hash === this.expected[file] || hash === this.old[file] || this.isRewritten(file)
      if (isExpected && !isCorrect) return `${file} is incorrect under its final name`
    }
    const isLost = file => !(file in found) && !isTemporary(file) && file in this.expected
    const lost = Object.keys(this.old).find(isLost)
    if (lost !== undefined) return `${lost} was removed without a replacement`
    if (!sameFiles(this.sources, snapshot(this.inputs))) return 'a source was modified'
    if (fault === 'kill') return undefined
    if (signal !== null) return `terminated by ${signal}`
    if (fault === 'short' && code !== 0) return `fails on a short read or write: ${err.trim()}`
    if (code === 0) return sameFiles(this.expected, found) ? undefined : 'exit code 0 with incorrect files'
    if (!/^penstock: .*\[[A-Z_]+\]$/m.test(err)) return `no clear error: ${err.trim().slice(0, 200)}`
    const [, named] = err.split(`${this.out}/`)
    if (named !== undefined && this.isLog?.(named.split(/[:,' ]/)[0])) return `a log ended the run: ${err.trim()}`
    return err.includes(this.root) ? undefined : `the error names no file: ${err.trim().slice(0, 200)}`
  }

  isRewritten(file) {
    return this.rewritten?.[file]?.(readFileSync(join(this.out, file), 'utf8'))
  }

  async runAgain() {
    const state = stateOf(this.out)
    if (this.recovered.has(state)) return undefined
    const { code, err } = await this.again(this.args)
    // The first run may have completed everything but its cleanup; the comparison below decides.
    const isRejection = err.includes('FILE_EXISTS')
    if (code !== 0 && !isRejection) return `the next run fails: ${err.trim().slice(0, 200)}`
    const found = this.results()
    if (!sameFiles(this.expected, found)) {
      const files = new Set([...Object.keys(this.expected), ...Object.keys(found)])
      const wrong = [...files].filter(file => this.expected[file] !== found[file])
      return `files differ after the next run: ${wrong.join(', ')}`
    }
    this.recovered.add(state)
    return undefined
  }

  clear() {
    rmSync(this.out, { recursive: true, force: true })
    cpSync(this.start, this.out, { recursive: true, verbatimSymlinks: true })
  }

  run(faults) {
    const shim = { LD_PRELOAD: this.shim, CHAOS_FOLDER: this.root, ...faults }
    return runNode(this.args, { UV_THREADPOOL_SIZE: '1', ...shim }, HANG_MS)
  }
}

/**
 * Starts a process for runs without faults; it ends with this process.
 * @returns {(args: string[]) => Promise<{ code: number | null, err: string }>} runs one command at a time in it
 */
export function openRunner() {
  let child
  return args =>
    new Promise(resolve => {
      child ??= fork(fileURLToPath(new URL('run-again.mjs', import.meta.url)))
      child.channel.ref()
      const end = result => {
        clearTimeout(timer)
        child?.removeAllListeners()
        child?.channel?.unref()
        resolve(result)
      }
      const abort = reason => {
        child.kill('SIGKILL')
        child = undefined
        end({ code: null, err: reason })
      }
      const timer = setTimeout(() => abort('hangs'), HANG_MS)
      child.once('message', end)
      child.once('exit', () => abort('the process exited without a result'))
      child.unref()
      child.send(args)
    })
}

/** @returns {Promise<{ code: number | null, signal: string | null, err: string }>} */
export function runNode(args, env, timeout) {
  return new Promise(resolve => {
    const child = spawn(process.execPath, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), timeout)
    let err = ''
    child.stderr.on('data', chunk => {
      err += chunk
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, err })
    })
  })
}

const sha256 = bytes => createHash('sha256').update(bytes).digest('hex')
const contentOf = file => (lstatSync(file).isSymbolicLink() ? readlinkSync(file) : readFileSync(file))
export const isTemporary = file => LEFT_BEHIND.test(file) || file.split('/').some(part => part.startsWith('.'))
const filesIn = folder =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => !entry.isDirectory())
    .map(entry => join(entry.parentPath, entry.name))
    .sort()

/** Hash of the content of each file, or of the target of each link, by relative path. */
export function snapshot(folder) {
  return Object.fromEntries(filesIn(folder).map(file => [relative(folder, file), sha256(contentOf(file))]))
}

export function empty(folder) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
}

/** Hash of a folder without the content of locks: runs that start from equal states behave alike. */
function stateOf(folder) {
  const files = filesIn(folder).map(file => [file, file.endsWith('.lock') ? '' : sha256(contentOf(file))])
  return sha256(JSON.stringify(files))
}

const sameFiles = (a, b) => JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())
