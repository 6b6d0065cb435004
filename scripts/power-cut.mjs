/**
 * Simulates power failures of a disk on which a Penstock command runs, at random moments and right after it exits, and
 * checks the files on the disk (scripts/power/drive.mjs explains how, and which writes are lost).
 *
 *   node scripts/power-cut.mjs [--rounds N] [--cases a,b] [--json FILE]
 *
 *   --rounds N    rounds per case (default: 10): one power cut right after exit and up to three at random moments; after
 *                 half of the latter the same command is run again and cut again, up to three times in a row
 *   --cases a,b   run only these cases
 *   --json FILE   write the counts to FILE, for scripts/reliability.mjs
 *
 * After exit, every output must exist with the bytes of an uninterrupted run and pass verification. At any other moment,
 * no incorrect file may exist under a final name, and the same command run again must write these bytes. Requires Linux
 * and root, for the mounts. Prints a table; exit code 1 if a check failed, 2 if it cannot run.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, watch } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { cases } from './chaos/cases.mjs'
import { MAIN, makeInputs } from './chaos/inputs.mjs'
import { report } from './chaos/report.mjs'
import { snapshot } from './chaos/sweep.mjs'
import { Drive } from './power/drive.mjs'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '10' }, cases: { type: 'string' }, json: { type: 'string' } },
})
if (process.platform !== 'linux' || process.getuid() !== 0) {
  console.error('power-cut: requires Linux and root, to mount a disk image')
  process.exit(2)
}

const CUTS_OF_A_RUN = 3
const CUTS_IN_A_ROW = 3
const LIMIT_MS = 120_000

const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'penstock-power-'))
const drive = new Drive(root)
const running = new Set()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  drive.close()
  rmSync(root, { recursive: true })
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(signal === 'SIGINT' ? 130 : 143))

drive.open()
const [inputs, out] = ['inputs', 'out'].map(name => join(drive.folder, name))
for (const folder of [inputs, out]) mkdirSync(folder)
makeInputs(inputs)
const beginning = drive.save('beginning')

const rows = []
for (const [name, { args, before, isLog, interrupted }] of Object.entries(cases(inputs, out))) {
  // Logs contain timestamps, and every case is resumed here anyway.
  if (isLog !== undefined || interrupted !== undefined) continue
  if (values.cases === undefined || values.cases.split(',').includes(name)) rows.push(await tryCase(name, args, before))
}
report(rows, values.json)

/** @returns the row of the case in the table */
async function tryCase(name, args, before) {
  const started = performance.now()
  drive.load(beginning)
  before?.()
  const old = snapshot(out)
  const ready = drive.save('ready')
  drive.load(ready)
  // The first run warms the page cache with the program.
  await runUninterrupted(args)
  drive.load(ready)
  const { expected, begin, end } = await runUninterrupted(args)
  const row = { name, tried: 0, failures: [] }
  for (let round = 0; round < Number(values.rounds); round++) {
    const cuts = []
    let how = drive.load(ready)
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`${name} fails without a power cut: ${stderr}`)
    cuts.push({ ...cutNow(how, 'after exit: '), isDone: true })
    how = drive.load(ready)
    cuts.push(...(await runAndCut(args, how, CUTS_OF_A_RUN, begin, end)))
    for (let cut = cuts.pop(); cut !== undefined; cut = cuts.pop()) {
      row.tried++
      how = drive.load(cut.image)
      rmSync(cut.image)
      let problem = wrongAt(expected, old, cut.isDone)
      if (problem === undefined && !cut.isDone && cut.inARow < CUTS_IN_A_ROW && Math.random() < 0.5) {
        cuts.push(...(await runAndCut(args, how, 1, begin, end, cut)))
      }
      problem ??= await wrongAfterTheNextRun(args, expected)
      if (problem !== undefined) row.failures.push(`${cut.how}${problem}`)
    }
  }
  const seconds = Math.round((performance.now() - started) / 1000)
  process.stderr.write(`${name}: ${row.tried} cuts in ${seconds} s, ${row.failures.length} failed\n`)
  return row
}

/** @returns the files that a run writes, and the interval, in ms from its start, in which it writes them */
async function runUninterrupted(args) {
  const started = performance.now()
  let begin
  const watcher = watch(out, () => {
    begin ??= performance.now() - started
  })
  const { code, err } = await start(args).ended
  watcher.close()
  if (code !== 0) throw new Error(`the uninterrupted run fails: ${err}`)
  return { expected: snapshot(out), begin: begin ?? 0, end: performance.now() - started }
}

/** Cuts the power at random moments of a run, then kills the run. */
async function runAndCut(args, how, count, begin, end, before = { how: '', inARow: 0 }) {
  const moments = Array.from({ length: count }, () => begin + Math.random() * (end - begin)).sort((a, b) => a - b)
  const started = performance.now()
  const run = start(args)
  const cuts = []
  for (const moment of moments) {
    // Vary what has reached the disk: no flush, a flush of metadata, or a flush of everything.
    await sleep(moment * Math.random() - (performance.now() - started))
    if (Math.random() < 0.5) drive.flush(Math.random() < 0.5)
    await sleep(moment - (performance.now() - started))
    if (!running.has(run.child)) break
    const cut = cutNow(how, `at ${Math.round(moment)} ms`)
    cuts.push({ ...cut, how: `${before.how}${cut.how}; `, inARow: before.inARow + 1 })
  }
  run.child.kill('SIGKILL')
  await run.ended
  return cuts
}

function cutNow(mounted, when) {
  const isCacheLost = Math.random() < 0.5
  return { image: drive.cut(isCacheLost), how: `${mounted}, cache ${isCacheLost ? 'lost' : 'kept'}, ${when}` }
}

/** @returns the problem with the files after a cut; undefined if there is none */
function wrongAt(expected, old, isDone) {
  const found = snapshot(out)
  for (const [file, hash] of Object.entries(expected)) {
    const isCorrect = found[file] === hash || (!isDone && found[file] === old[file])
    if (file in found && !isCorrect) return `${file} is incorrect under its final name`
    if (!isCorrect) return `${file} is lost`
  }
  const { status, stderr, stdout } = spawnSync(process.execPath, [MAIN, 'verify', out], { encoding: 'utf8' })
  return status === 0 || stderr.includes('[FILE_MISSING]') ? undefined : `fails verification: ${stdout}${stderr}`
}

async function wrongAfterTheNextRun(args, expected) {
  const { code, err } = await start(args).ended
  // FILE_EXISTS: the run before the cut had completed.
  if (code !== 0 && !err.includes('[FILE_EXISTS]')) return `the next run fails: ${err.trim().slice(0, 200)}`
  const found = snapshot(out)
  const names = new Set([...Object.keys(expected), ...Object.keys(found)])
  const wrong = [...names].filter(name => expected[name] !== found[name])
  return wrong.length === 0 ? undefined : `files differ after the next run: ${wrong.join(', ')}`
}

/** Starts a command, which is killed at the exit of this process. */
function start(args) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: LIMIT_MS })
  running.add(child)
  let err = ''
  child.stderr.on('data', chunk => {
    err += chunk
  })
  child.on('exit', () => running.delete(child))
  return { child, ended: once(child, 'close').then(([code]) => ({ code, err })) }
}
