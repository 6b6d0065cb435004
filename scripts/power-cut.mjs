/**
 * Cuts the power of a disk on which a command of Penstock runs, at random moments and right after it said that it is done,
 * and looks at what the disk holds then (scripts/power/drive.mjs tells how that is done, and what is lost).
 *
 *   node scripts/power-cut.mjs [--rounds N] [--cases a,b] [--json FILE]
 *
 *   --rounds N    rounds for each case (10): a cut right after the end, and up to three at random moments; after half of
 *                 these the same command, run again, is cut again, and once more
 *   --cases a,b   only these cases
 *   --json FILE   the counts, for scripts/reliability.mjs
 *
 * Right after the end every output must be there with the bytes of an undisturbed run, and sound. At any other moment
 * nothing wrong may stand under a final name, and the same command run again must give these bytes. Needs Linux and root
 * for the mounts. Ends with a table; exit code 1 when a cut was not survived, 2 where it cannot run.
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
  console.error('power-cut: needs Linux and root, to mount a disk of its own')
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
  // Logs tell the time, and a run that goes on is cut here anyway.
  if (isLog !== undefined || interrupted !== undefined) continue
  if (values.cases === undefined || values.cases.split(',').includes(name)) rows.push(await tryCase(name, args, before))
}
report(rows, values.json)

/** @returns a row of the table */
async function tryCase(name, args, before) {
  const started = performance.now()
  drive.load(beginning)
  before?.()
  const old = snapshot(out)
  const ready = drive.save('ready')
  drive.load(ready)
  // The first one reads the program from the disk.
  await runUndisturbed(args)
  drive.load(ready)
  const { expected, begin, end } = await runUndisturbed(args)
  const row = { name, tried: 0, failures: [] }
  for (let round = 0; round < Number(values.rounds); round++) {
    const cuts = []
    let how = drive.load(ready)
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`${name} fails undisturbed: ${stderr}`)
    cuts.push({ ...cutNow(how, 'at the end: '), isDone: true })
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

/** What a run writes, and from when to when, in ms, it is at it. */
async function runUndisturbed(args) {
  const started = performance.now()
  let begin
  const watcher = watch(out, () => {
    begin ??= performance.now() - started
  })
  const { code, err } = await start(args).ended
  watcher.close()
  if (code !== 0) throw new Error(`fails undisturbed: ${err}`)
  return { expected: snapshot(out), begin: begin ?? 0, end: performance.now() - started }
}

/** Cuts at random moments of a run, which is then killed. */
async function runAndCut(args, how, count, begin, end, before = { how: '', inARow: 0 }) {
  const moments = Array.from({ length: count }, () => begin + Math.random() * (end - begin)).sort((a, b) => a - b)
  const started = performance.now()
  const run = start(args)
  const cuts = []
  for (const moment of moments) {
    // What is on its way to the disk differs: nothing asked, the names, everything.
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

/** @returns what is wrong with what a cut left; undefined when nothing is */
function wrongAt(expected, old, isDone) {
  const found = snapshot(out)
  for (const [file, hash] of Object.entries(expected)) {
    const isWhole = found[file] === hash || (!isDone && found[file] === old[file])
    if (file in found && !isWhole) return `${file} is wrong under its final name`
    if (!isWhole) return `${file} is lost`
  }
  const { status, stderr, stdout } = spawnSync(process.execPath, [MAIN, 'verify', out], { encoding: 'utf8' })
  return status === 0 || stderr.includes('[FILE_MISSING]') ? undefined : `not sound: ${stdout}${stderr}`
}

async function wrongAfterTheNextRun(args, expected) {
  const { code, err } = await start(args).ended
  // Of a run that was done.
  if (code !== 0 && !err.includes('[FILE_EXISTS]')) return `the next run fails: ${err.trim().slice(0, 200)}`
  const found = snapshot(out)
  const names = new Set([...Object.keys(expected), ...Object.keys(found)])
  const wrong = [...names].filter(name => expected[name] !== found[name])
  return wrong.length === 0 ? undefined : `after the next run these differ: ${wrong.join(', ')}`
}

/** Starts a command; it ends with this process at the latest. */
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
