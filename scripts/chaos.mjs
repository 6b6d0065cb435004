/**
 * `npm run chaos`: kills and faults at every file system call of every command, kills of longer runs at random moments, then
 * hazards such as signals, links in place of temporary files, and runs in two process namespaces.
 *
 *   --points N    number of points of the sweep to try, spread evenly (default: all)
 *   --cases a,b   run only these cases
 *   --kills N     rounds of random kills; 0 disables them (default: 40)
 *   --rounds N    rounds of each kind of signal, and of runs in two namespaces (default: 20)
 *   --json FILE   write the counts to FILE, for scripts/reliability.mjs
 *
 * Requires Linux and a C compiler. Prints a table; exit code 1 if any point failed.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { cases } from './chaos/cases.mjs'
import { hazards } from './chaos/hazards.mjs'
import { makeInputs } from './chaos/inputs.mjs'
import { killAtRandom } from './chaos/kills.mjs'
import { report } from './chaos/report.mjs'
import { buildShim, openRunner, Sweep } from './chaos/sweep.mjs'

const { values } = parseArgs({
  options: {
    points: { type: 'string' },
    cases: { type: 'string' },
    kills: { type: 'string', default: '40' },
    rounds: { type: 'string', default: '20' },
    json: { type: 'string' },
  },
})

const root = mkdtempSync(join(tmpdir(), 'penstock-chaos-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
const inputs = join(root, 'inputs')
mkdirSync(inputs)
makeInputs(inputs)
const shim = buildShim(join(dirname(fileURLToPath(import.meta.url)), 'chaos', 'fault-shim.c'), root)

const isSelected = name => values.cases === undefined || values.cases.split(',').includes(name)
const names = Object.keys(cases(inputs, root)).filter(isSelected)
const slots = Array.from({ length: availableParallelism() }, (_, slot) => ({
  out: join(root, `out-${slot}`),
  again: openRunner(),
}))
// A shortened sweep spends most of its time on fault-free runs, so each slot then works on different cases.
const isSplit = values.points !== undefined && names.length >= slots.length
const groups = isSplit ? slots.map(slot => [slot]) : [slots]
const rows = []
let started = 0
await Promise.all(
  groups.map(async group => {
    while (started < names.length) {
      const row = started++
      rows[row] = await sweepCase(names[row], group)
    }
  }),
)
const rounds = Number(values.kills)
if (rounds > 0) rows.push(await killAtRandom({ root, inputs, rounds }))
for (const [name, test] of Object.entries(hazards)) {
  if (!isSelected(name)) continue
  const { skipped, ...row } = await test({ inputs, out: join(root, 'hazard'), rounds: Number(values.rounds) })
  process.stderr.write(`${name}: ${skipped ?? `${row.tried} tried, ${row.failures.length} failed`}\n`)
  if (skipped === undefined) rows.push({ name, ...row })
}
report(rows, values.json)

/** Tries all points of one case, distributed over the slots of a group. */
async function sweepCase(name, group) {
  const startedAt = performance.now()
  const sweeps = group.map(
    ({ out, again }) => new Sweep({ name, command: cases(inputs, out)[name], out, inputs, root, shim, again }),
  )
  const points = sampled((await Promise.all(sweeps.map(sweep => sweep.begin())))[0])
  const failures = []
  let next = 0
  await Promise.all(
    sweeps.map(async sweep => {
      while (next < points.length) {
        const point = points[next++]
        const problem = await sweep.tryPoint(point)
        if (problem !== undefined) failures.push(`call ${point.at} (${point.call}), ${point.fault}: ${problem}`)
      }
    }),
  )
  const seconds = Math.round((performance.now() - startedAt) / 1000)
  process.stderr.write(`${name}: ${points.length} points in ${seconds} s, ${failures.length} failed\n`)
  return { name, tried: points.length, failures }
}

/** The points of a case to try: all, or an evenly spaced sample with --points. */
function sampled(points) {
  if (values.points === undefined) return points
  const count = Math.min(points.length, Math.ceil(Number(values.points) / names.length))
  return Array.from({ length: count }, (_, index) => points[Math.floor((index * points.length) / count)])
}
