// Compares Penstock with Modalities: runs the same jobs in both and compares the results value by value or byte by byte.
//   npm run parity   (or: node scripts/parity.mjs [--quick] [--only=order|configuration|file|packing|mask|dataset|command])
// Modalities runs in a separate environment, created at the first run (5 GB). Prints every comparison that is not identical
// and "N identical, N differ for a documented reason, N DIFFER"; exit code 1 if any differs without a documented reason.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { commandChecks } from './parity-commands.mjs'
import { configurationChecks } from './parity-config.mjs'
import { datasetChecks } from './parity-datasets.mjs'
import { fileChecks } from './parity-files.mjs'
import { maskChecks } from './parity-masks.mjs'
import { orderChecks } from './parity-orders.mjs'
import { packingChecks } from './parity-packing.mjs'
import { sweepChecks } from './parity-sweeps.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folder = mkdtempSync(join(tmpdir(), 'penstock-parity-'))

// A check is { name, job, ours, reason? }: Modalities runs `job`; ours(itsAnswer) returns the pair to compare, or whether the
// two are equal; `reason` explains an intended difference.
try {
  process.stdout.write('Preparing ...\n')
  const context = { root, folder, quick: process.argv.includes('--quick') }
  const families = [
    orderChecks,
    configurationChecks,
    fileChecks,
    packingChecks,
    maskChecks,
    datasetChecks,
    commandChecks,
    sweepChecks,
  ]
  const only = process.argv.find(argument => argument.startsWith('--only='))?.slice('--only='.length)
  const checks = families
    .filter(family => only === undefined || family.name.startsWith(only))
    .flatMap(family => family(context))
  const answers = askReference(checks.map(check => check.job))
  process.exitCode = report(await Promise.all(checks.map((check, index) => compare(check, answers[index]))))
} finally {
  rmSync(folder, { recursive: true, force: true })
}

function askReference(jobs) {
  const python = run(process.execPath, [join(root, 'scripts', 'setup-python.mjs'), 'peers'], 'pipe').trim()
  const jobsPath = join(folder, 'jobs.json')
  const answersPath = join(folder, 'answers.json')
  writeFileSync(jobsPath, JSON.stringify(jobs))
  process.stdout.write(`Running ${jobs.length} jobs in Modalities ...\n`)
  run(python, [join(root, 'scripts', 'parity_reference.py'), jobsPath, answersPath], 'ignore')
  return JSON.parse(readFileSync(answersPath, 'utf8'))
}

function run(command, args, stdout) {
  const env = { ...process.env, TOKENIZERS_PARALLELISM: 'false', HF_HUB_OFFLINE: '1' }
  const result = spawnSync(command, args, {
    stdio: ['ignore', stdout, 'pipe'],
    encoding: 'utf8',
    env,
    maxBuffer: 1 << 28,
  })
  if (result.status !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${result.stderr?.slice(-2000)}`)
  return result.stdout ?? ''
}

/** @returns { name, state: 'identical' | 'documented' | 'DIFFERS', detail } */
async function compare({ name, ours, reason }, answer) {
  let detail
  try {
    const [mine, theirs] = await ours(answer)
    if (isDeepStrictEqual(mine, theirs)) return { name, state: 'identical' }
    detail = `ours ${shown(mine)}, Modalities ${shown(theirs)}`
  } catch (error) {
    detail = `ours failed: ${error.message}`
  }
  return { name, state: reason === undefined ? 'DIFFERS' : 'documented', detail: reason ?? detail }
}

function shown(value) {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 200 ? `${text.slice(0, 200)}...` : text
}

function report(results) {
  const count = state => results.filter(result => result.state === state).length
  for (const { name, state, detail } of results) {
    if (state !== 'identical') process.stdout.write(`${state.padEnd(10)}  ${name}: ${detail}\n`)
  }
  process.stdout.write(
    `${count('identical')} identical, ${count('documented')} differ for a documented reason, ${count('DIFFERS')} DIFFER\n`,
  )
  return count('DIFFERS') === 0 ? 0 : 1
}
