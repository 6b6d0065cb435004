/**
 * Fuzzes every parser: `node scripts/fuzz.mjs [minutes, default 60] [--seed N] [--json FILE]`. Each damaged input must be
 * parsed or rejected with an error code, within 100 ms of CPU time and with memory proportional to its size. Violations
 * are printed with their bytes. Exit code 1 if there are any.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { PenstockError } from '../dist/errors.js'
import { mutated, targets } from './fuzz/targets.mjs'

const MAX_MS = 100
const MAX_EXTRA_BYTES = 64 << 20
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: 'string' }, json: { type: 'string' } },
})
const minutes = Number(positionals[0] ?? 60)
const random = generator(Number(values.seed ?? Date.now() % 2 ** 31))

const models = join(root, 'test/fixtures/sentencepiece')
const all = Object.entries(targets({ sentencePiece: readFileSync(join(models, 'bpe-bytes.model')) }))
for (const [name, { sample, parse }] of all) {
  if (parse(sample) === false) throw new Error(`${name}: the valid sample is rejected`)
}
const counts = new Map(all.map(([name]) => [name, { tried: 0, refused: 0, slowest: 0, failed: 0 }]))
const end = performance.now() + minutes * 60_000
while (performance.now() < end) for (const [name, target] of all) tryOne(name, target)
console.log('| parser | tried | rejected | slowest, ms | failed |\n| --- | --- | --- | --- | --- |')
for (const [name, { tried, refused, slowest, failed }] of counts) {
  console.log(`| ${name} | ${tried} | ${refused} | ${slowest.toFixed(1)} | ${failed} |`)
  if (failed > 0) process.exitCode = 1
}
if (values.json !== undefined) {
  const rows = [...counts].map(([name, { tried, failed }]) => ({ name, tried, failed }))
  writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`)
}

function tryOne(name, { sample, parse }) {
  const count = counts.get(name)
  const bytes = mutated(sample, random)
  const before = process.memoryUsage().arrayBuffers
  const cpu = process.cpuUsage()
  let problem
  try {
    if (parse(bytes) === false) count.refused++
  } catch (error) {
    count.refused++
    if (!(error instanceof PenstockError) || error.code === 'INTERNAL') problem = String(error)
  }
  const { user, system } = process.cpuUsage(cpu)
  const ms = (user + system) / 1000
  if (ms > MAX_MS && count.tried > 20) problem ??= `${ms.toFixed(0)} ms`
  if (process.memoryUsage().arrayBuffers - before > MAX_EXTRA_BYTES) problem ??= 'excessive memory'
  count.tried++
  count.slowest = count.tried > 20 ? Math.max(count.slowest, ms) : 0
  if (problem === undefined) return
  count.failed++
  console.log(`${name}: ${problem}\n${Buffer.from(bytes).toString('base64')}`)
}

/** A small seeded generator, so that findings are reproducible. */
function generator(seed) {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
