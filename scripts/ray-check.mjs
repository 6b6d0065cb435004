/**
 * Runs `penstock launch ray` on a Ray cluster of a head and two workers on this machine: 12 shards, one worker killed in the
 * middle, and the merged file compared with that of a single run; then a shuffle in two passes, and a corpus with a faulty line. The status is compared with the files
 * throughout, and the command of the killed worker has to end with it. Takes about two minutes. Nodes listen on the loopback
 * interface and are stopped at the end.
 *
 * node scripts/ray-check.mjs
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  ancestorsOf,
  assert,
  assertSame,
  MAIN,
  makeCase,
  penstock,
  planShuffle,
  runningShard,
  sha256,
  until,
  watchStatus,
} from './cluster/cases.mjs'

const setup = fileURLToPath(new URL('setup-python.mjs', import.meta.url))
const python = execFileSync(process.execPath, [setup, 'ray'], { encoding: 'utf8' }).trim()
const ray = join(dirname(python), 'ray')
const scratch = mkdtempSync(join(tmpdir(), 'pr-'))
const at = name => join(scratch, name)
const address = 'http://127.0.0.1:8265'
const nodes = new Map()
const environment = {
  ...process.env,
  RAY_AUTH_MODE: 'token',
  RAY_AUTH_TOKEN: 'a-token-of-this-check-with-enough-characters',
}
process.env.RAY_AUTH_TOKEN = environment.RAY_AUTH_TOKEN

/** 127.0.0.1 would be replaced by the outer address of the machine. */
function startNode(name, ip, ...args) {
  const common = ['--disable-usage-stats', '--object-store-memory=100000000', '--block', `--node-ip-address=${ip}`]
  nodes.set(name, spawn(ray, ['start', ...common, ...args], { stdio: 'ignore', env: environment, detached: true }))
}

async function startRay() {
  mkdirSync(at('ray'))
  const dashboard = ['--dashboard-host=127.0.0.1', '--dashboard-port=8265', '--include-dashboard=true']
  startNode('head', '127.0.0.2', '--head', '--port=6379', ...dashboard, '--num-cpus=0', `--temp-dir=${at('ray')}`)
  await until('the dashboard', 120, answers)
  // One after the other: two that start at once may choose the same ports.
  for (const [name, ip] of [
    ['n1', '127.0.0.3'],
    ['n2', '127.0.0.4'],
  ]) {
    startNode(name, ip, '--address=127.0.0.2:6379', '--num-cpus=1')
    await until(`node ${name}`, 120, () => rayletOf(ip))
  }
}

const rayletOf = ip => processes().find(({ text }) => text.includes('raylet/raylet') && text.includes(`=${ip} `))

const answers = async () => {
  const headers = { authorization: `Bearer ${environment.RAY_AUTH_TOKEN}` }
  return (await fetch(`${address}/api/jobs/`, { headers }).catch(() => ({ ok: false }))).ok
}

/** Processes of this machine and their parents. */
const processes = () =>
  readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(name => {
      try {
        const [pid, text] = [Number(name), readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ')]
        return [{ pid, text }]
      } catch {
        return []
      }
    })

/** The raylet of the second worker, killed while a shard runs below it. */
async function killNode(folder) {
  const raylet = rayletOf('127.0.0.4')
  const found = await until('a shard on the second worker', 180, () =>
    runningShard(folder, pid => existsSync(`/proc/${pid}`) && ancestorsOf(pid).includes(raylet.pid)),
  )
  process.kill(raylet.pid, 'SIGKILL')
  await until('the end of the command of the killed worker', 60, () => !existsSync(`/proc/${found.pid}`))
  return found.shard
}

const launch = (work, ...args) =>
  spawn(process.execPath, [MAIN, 'launch', 'ray', work, '--address', address, '--python', python, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })

function outcomeOf(child) {
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (text += chunk))
  return new Promise(resolve => child.on('close', code => resolve({ code, text })))
}

async function lostNode() {
  const work = makeCase(at('good'), 40, false)
  penstock(['run', work.definition.replace('pack.yaml', 'single.yaml'), '--quiet'])
  penstock(['shards', 'plan', work.definition, '--shards', '12', '--quiet'])
  const running = outcomeOf(launch(work.shards))
  const stop = await watchStatus(work.shards)
  const killed = await killNode(work.shards)
  const { code, text } = await running
  assert(code === 0, `launch ray ended with ${code}: ${text.slice(-3000)}`)
  const { polls, states } = await stop()
  assertSame(work)
  const status = penstock(['launch', 'status', work.shards])
  assert(status.includes('12 shards: 12 done') && status.includes('SUCCEEDED'), `unexpected status: ${status}`)
  console.log(
    `12 shards, the node of shard ${killed} killed: SHA-256 ${sha256(work.output).slice(0, 16)} as a single run`,
  )
  console.log(`status compared ${polls} times; states seen: ${states.join(', ')}`)
  return work
}

async function shuffle(packed) {
  const work = planShuffle(packed)
  const { code, text } = await outcomeOf(launch(work.shards))
  assert(code === 0, `launch ray ended with ${code}: ${text.slice(-3000)}`)
  assertSame(work)
  console.log(`a shuffle in two passes: SHA-256 ${sha256(work.output).slice(0, 16)} as on one machine`)
}

async function faultyShard() {
  const work = makeCase(at('faulty'), 3, true)
  const command = at('counted.sh')
  writeFileSync(command, `#!/bin/sh\necho "$*" >> ${at('runs')}\nexec ${process.execPath} ${MAIN} "$@"\n`)
  chmodSync(command, 0o755)
  const { code, text } = await outcomeOf(launch(work.definition, '--shards', '3', '--penstock', command))
  assert(code === 65, `launch ray ended with ${code}: ${text.slice(-3000)}`)
  const { counts, active } = JSON.parse(penstock(['shards', 'status', work.shards, '--json']))
  assert(counts.done === 2 && counts.failed === 1, `unexpected counts: ${JSON.stringify(counts)}`)
  const runs = readFileSync(at('runs'), 'utf8').split('\n').length - 1
  assert(runs === 3, `${runs} commands for 3 shards, one of them faulty`)
  assert(!existsSync(work.output), 'a faulty corpus was merged')
  console.log(
    `a faulty line: shard ${active[0].shard} ended with 65 after one attempt, no merge: ${active[0].error.message}`,
  )
}

const started = Date.now()
const seconds = () => Math.round((Date.now() - started) / 1000)
try {
  await startRay()
  console.log(`Ray runs after ${seconds()} s`)
  const { output } = await lostNode()
  await shuffle(output)
  await faultyShard()
  console.log(`passed in ${seconds()} s`)
} catch (error) {
  process.stderr.write(`${error.stack}\n${error.stderr ?? ''}\n`)
  process.exitCode = 1
} finally {
  for (const node of [...nodes.values()].reverse()) {
    const isRunning = node.exitCode === null && node.signalCode === null
    if (isRunning) process.kill(node.pid, 'SIGTERM')
  }
  const hasEnded = node => node.exitCode !== null || node.signalCode !== null
  await until('the end of the nodes', 40, () => [...nodes.values()].every(hasEnded)).catch(() => {})
  // Processes that a killed raylet left are found by the folder of this cluster in their command.
  for (const { pid, text } of processes()) if (text.includes(at('ray'))) spawnSync('kill', ['-9', `${pid}`])
  if (process.exitCode === undefined) rmSync(scratch, { recursive: true })
  // The status may still be watched.
  process.exit()
}
