/**
 * The fault sweep: for every file call of a command, the process is killed there, or the call fails as disks and systems
 * do. After each: nothing wrong under a final name, sources untouched, an error that names its place, no hang; and the
 * same command run again, without any clean-up, gives the bytes of an undisturbed run.
 */
import { execFileSync, fork, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ERRNO = { EIO: 5, EACCES: 13, EMFILE: 24, ENOSPC: 28 }
/** What can go wrong with each kind of call, by its letter in fault-shim.c. */
const FAULTS = {
  o: ['kill', 'EMFILE', 'EACCES'],
  r: ['kill', 'EIO'],
  w: ['kill', 'ENOSPC', 'EIO', 'short'],
  t: ['kill', 'EIO'],
  f: ['kill', 'EIO', 'ENOSPC'],
  n: ['kill', 'EACCES', 'ENOSPC'],
  u: ['kill', 'EACCES', 'EIO'],
  m: ['kill', 'EACCES', 'ENOSPC'],
  s: ['kill', 'EACCES', 'ENOSPC'],
}
const HANG_MS = 60_000
const LEFT_BEHIND = /\.(part|lock|journal)$|\.partial$/

/** Compiles the shim. @returns its path */
export function buildShim(source, folder) {
  const shim = join(folder, 'fault-shim.so')
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', shim, source, '-ldl'], { stdio: 'inherit' })
  return shim
}

/** Runs one command in one place again and again. */
export class Sweep {
  /** @param command of `cases` */
  constructor({ name, command, out, inputs, root, shim, again }) {
    Object.assign(this, { name, ...command, out, inputs, root, shim, again })
    this.sources = snapshot(inputs)
    /** What stands there before each run. */
    this.start = `${out}.start`
    /** States of the folder from which a second run was seen to end well. */
    this.mended = new Set()
  }

  /** The undisturbed run: what it writes, and every fault that can hit it. */
  async begin() {
    empty(this.out)
    this.before?.()
    this.keepStart()
    let told = await this.runUndisturbed()
    this.expected = this.results()
    if (this.interrupted !== undefined) {
      this.clear()
      await this.run({ CHAOS_AT: String(Math.floor(told.length * this.interrupted)), CHAOS_FAULT: 'kill' })
      this.keepStart()
      if (Object.keys(this.old).length === 0) throw new Error(`${this.name}: nothing to go on from`)
      told = await this.runUndisturbed()
      if (!sameFiles(this.expected, this.results())) throw new Error(`${this.name}: another result than of one run`)
    }
    return told.flatMap((call, place) => FAULTS[call[0]].map(fault => ({ at: place + 1, call, fault })))
  }

  /** Every run begins with the folder as it is now. */
  keepStart() {
    rmSync(this.start, { recursive: true, force: true })
    renameSync(this.out, this.start)
    this.old = snapshot(this.start)
  }

  /** @returns the calls that it makes */
  async runUndisturbed() {
    this.clear()
    const calls = `${this.out}.calls`
    const { code, err } = await this.run({ CHAOS_CALLS: calls })
    if (code !== 0) throw new Error(`${this.name} fails undisturbed: ${err}`)
    return readFileSync(calls, 'utf8').trim().split('\n')
  }

  /** The files of the outputs that count. */
  results() {
    return Object.fromEntries(Object.entries(snapshot(this.out)).filter(([file]) => !this.isLog?.(file)))
  }

  /** @returns what went wrong; undefined when nothing did */
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
      // A manifest may come before its file, and checkpoints on the way are none of the last ones.
      const isOneOfLast = file in this.expected
      const isWhole = hash === this.expected[file] || hash === this.old[file] || this.isRewritten(file)
      if (isOneOfLast && !isWhole) return `${file} is wrong under its final name`
    }
    const isLost = file => !(file in found) && !isTemporary(file) && file in this.expected
    const lost = Object.keys(this.old).find(isLost)
    if (lost !== undefined) return `${lost} is gone, and nothing in its place`
    if (!sameFiles(this.sources, snapshot(this.inputs))) return 'a source was changed'
    if (fault === 'kill') return undefined
    if (signal !== null) return `ended by ${signal}`
    if (code === 0) return sameFiles(this.expected, found) ? undefined : 'says done, and is not'
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
    if (this.mended.has(state)) return undefined
    const { code, err } = await this.again(this.args)
    // Of a run that was done but for its tidying up; whether it was is seen below.
    const isRefusal = err.includes('FILE_EXISTS')
    if (code !== 0 && !isRefusal) return `the next run fails: ${err.trim().slice(0, 200)}`
    const found = this.results()
    if (!sameFiles(this.expected, found)) {
      const files = new Set([...Object.keys(this.expected), ...Object.keys(found)])
      const wrong = [...files].filter(file => this.expected[file] !== found[file])
      return `after the next run these differ: ${wrong.join(', ')}`
    }
    this.mended.add(state)
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
 * Starts a process for runs that nothing disturbs; it ends with this one.
 * @returns {(args: string[]) => Promise<{ code: number | null, err: string }>} runs a command in it, one at a time
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
      const giveUp = why => {
        child.kill('SIGKILL')
        child = undefined
        end({ code: null, err: why })
      }
      const timer = setTimeout(() => giveUp('hangs'), HANG_MS)
      child.once('message', end)
      child.once('exit', () => giveUp('ended without a word'))
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
const isTemporary = file => LEFT_BEHIND.test(file) || file.split('/').some(part => part.startsWith('.'))
const filesIn = folder =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => !entry.isDirectory())
    .map(entry => join(entry.parentPath, entry.name))
    .sort()

/** The hash of each file by its name, of a link what it names. */
export function snapshot(folder) {
  return Object.fromEntries(filesIn(folder).map(file => [relative(folder, file), sha256(contentOf(file))]))
}

export function empty(folder) {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder)
}

/** The folder but for who holds its locks: two states that are alike are gone on from alike. */
function stateOf(folder) {
  const files = filesIn(folder).map(file => [file, file.endsWith('.lock') ? '' : sha256(contentOf(file))])
  return sha256(JSON.stringify(files))
}

const sameFiles = (a, b) => JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort())
