/**
 * `npm run chaos`: kills and faults at every file call of every tool, then kills at random moments of longer runs.
 *
 *   --points N    try N points of the sweep, spread evenly over all (all of them when absent)
 *   --cases a,b   only these cases
 *   --kills N     rounds of random kills, 0 for none (40)
 *   --json FILE   the counts, for scripts/reliability.mjs
 *
 * Needs Linux and a C compiler. Ends with a table and exit code 1 when a point failed.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { cases } from './chaos/cases.mjs'
import { makeInputs } from './chaos/inputs.mjs'
import { killAtRandom } from './chaos/kills.mjs'
import { report } from './chaos/report.mjs'
import { buildShim, openRunner, Sweep } from './chaos/sweep.mjs'

const { values } = parseArgs({
  options: {
    points: { type: 'string' },
    cases: { type: 'string' },
    kills: { type: 'string', default: '40' },
    json: { type: 'string' },
  },
})

const root = mkdtempSync(join(tmpdir(), 'penstock-chaos-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
const inputs = join(root, 'inputs')
mkdirSync(inputs)
makeInputs(inputs)
const shim = buildShim(join(dirname(fileURLToPath(import.meta.url)), 'chaos', 'fault-shim.c'), root)

const names = Object.keys(cases(inputs, root)).filter(
  name => values.cases === undefined || values.cases.split(',').includes(name),
)
const places = Array.from({ length: availableParallelism() }, (_, place) => ({
  out: join(root, `out-${place}`),
  again: openRunner(),
}))
// The time of a shortened sweep goes into the undisturbed runs: each place then has cases of its own.
const isSplit = values.points !== undefined && names.length >= places.length
const groups = isSplit ? places.map(place => [place]) : [places]
const rows = []
let begun = 0
await Promise.all(
  groups.map(async group => {
    while (begun < names.length) {
      const row = begun++
      rows[row] = await sweepCase(names[row], group)
    }
  }),
)
const rounds = Number(values.kills)
if (rounds > 0) rows.push(await killAtRandom({ root, inputs, rounds }))
report(rows, values.json)

/** All points of one case, shared among places. */
async function sweepCase(name, group) {
  const started = performance.now()
  const sweeps = group.map(
    ({ out, again }) => new Sweep({ name, command: cases(inputs, out)[name], out, inputs, root, shim, again }),
  )
  const points = chosen((await Promise.all(sweeps.map(sweep => sweep.begin())))[0])
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
  const seconds = Math.round((performance.now() - started) / 1000)
  process.stderr.write(`${name}: ${points.length} points in ${seconds} s, ${failures.length} failed\n`)
  return { name, tried: points.length, failures }
}

/** An even share of a case's points, when not all are asked for. */
function chosen(points) {
  if (values.points === undefined) return points
  const count = Math.min(points.length, Math.ceil(Number(values.points) / names.length))
  return Array.from({ length: count }, (_, index) => points[Math.floor((index * points.length) / count)])
}
