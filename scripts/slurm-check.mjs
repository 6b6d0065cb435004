/**
 * Runs `penstock launch slurm` on a Slurm of two nodes on this machine: 12 shards, one node and its task killed in the middle,
 * and the merged file compared with that of a single run; then a shuffle in two passes, and a corpus with a faulty line. The status is compared with
 * the files throughout. Takes about a minute; needs root. Servers listen on the loopback interface and are stopped at the end.
 *
 * node scripts/slurm-check.mjs [--install]      (--install: apt-get install the Debian packages of Slurm)
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  ancestorsOf,
  assert,
  assertSame,
  makeCase,
  penstock,
  planShuffle,
  runningShard,
  sha256,
  until,
  watchStatus,
} from './cluster/cases.mjs'

const PACKAGES = ['slurm-wlm', 'slurmctld', 'slurmd', 'munge']
const run = (program, ...args) => execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

if (process.argv.includes('--install')) {
  execFileSync('apt-get', ['install', '-y', '--no-install-recommends', ...PACKAGES], { stdio: 'inherit' })
}
if (!existsSync('/usr/sbin/slurmctld')) {
  process.stderr.write(`Slurm is not installed: pass --install, or install ${PACKAGES.join(' ')}\n`)
  process.exit(2)
}

const scratch = mkdtempSync(join(tmpdir(), 'penstock-slurm-'))
const at = name => join(scratch, name)
const servers = new Map()

function startServer(name, program, ...args) {
  const server = spawn(program, args, { stdio: 'ignore' })
  servers.set(name, server)
  return server
}

async function startSlurm() {
  const host = hostname()
  for (const name of ['state', 'spool-n1', 'spool-n2']) mkdirSync(at(name))
  const settings = {
    ClusterName: 'penstock',
    SlurmctldHost: `${host}(127.0.0.1)`,
    SlurmctldPort: 17000,
    SlurmUser: 'root',
    AuthType: 'auth/munge',
    CredType: 'cred/munge',
    ProctrackType: 'proctrack/linuxproc',
    TaskPlugin: 'task/none',
    SelectType: 'select/cons_tres',
    SelectTypeParameters: 'CR_Core',
    ReturnToService: 2,
    JobRequeue: 1,
    MpiDefault: 'none',
    SwitchType: 'switch/none',
    AccountingStorageType: 'accounting_storage/none',
    JobAcctGatherType: 'jobacct_gather/none',
    StateSaveLocation: at('state'),
    SlurmdSpoolDir: at('spool-%n'),
    SlurmctldPidFile: at('slurmctld.pid'),
    SlurmdPidFile: at('slurmd-%n.pid'),
    SlurmctldLogFile: at('slurmctld.log'),
    SlurmdLogFile: at('slurmd-%n.log'),
  }
  const nodes = ['n1', 'n2'].map(
    (name, index) => `NodeName=${name} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${17001 + index} CPUs=1`,
  )
  const lines = Object.entries(settings).map(([name, value]) => `${name}=${value}`)
  const partition = 'PartitionName=main Nodes=ALL Default=YES State=UP'
  writeFileSync(at('slurm.conf'), `${[...lines, ...nodes, partition].join('\n')}\n`)
  process.env.SLURM_CONF = at('slurm.conf')
  if (!existsSync('/run/munge/munge.socket.2')) {
    run('install', '-d', '-o', 'munge', '-g', 'munge', '/run/munge')
    startServer('munged', 'runuser', '-u', 'munge', '--', '/usr/sbin/munged', '--foreground')
    await until('munged', 20, () => existsSync('/run/munge/munge.socket.2'))
  }
  startServer('slurmctld', '/usr/sbin/slurmctld', '-D', '-f', at('slurm.conf'))
  for (const name of ['n1', 'n2']) startNode(name)
  await until('two idle nodes', 60, () => idleNodes() === 2)
}

const startNode = name => startServer(name, '/usr/sbin/slurmd', '-D', '-f', at('slurm.conf'), '-N', name)

function idleNodes() {
  try {
    return run('sinfo', '-h', '-N', '-o', '%t')
      .split('\n')
      .filter(state => state === 'idle').length
  } catch {
    return 0
  }
}

/** Kills a node and the task that runs on it, as a power failure does, and returns the number of the shard. */
async function killNode(folder) {
  const node = servers.get('n2')
  const found = await until('a shard on n2', 120, () =>
    runningShard(folder, (pid, shard) => nodeOf(shard) === 'n2' && existsSync(`/proc/${pid}`)),
  )
  const parents = ancestorsOf(found.pid)
  // The batch script and Slurm's step daemon, up to this script or the first process of the machine.
  const ours = [process.pid, ...ancestorsOf(process.pid)]
  for (const pid of [node.pid, found.pid, ...parents.filter(pid => !ours.includes(pid))]) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // Its parent has taken it along.
    }
  }
  run('scontrol', 'update', 'NodeName=n2', 'State=DOWN', 'Reason=killed')
  return found.shard
}

const nodeOf = shard =>
  run('squeue', '-r', '-h', '-t', 'R', '-o', '%K %N')
    .split('\n')
    .map(line => line.split(' '))
    .find(([task]) => Number(task) === shard)?.[1]

/** Requeued tasks wait for two minutes; this check does not. */
function startWaitingTasks() {
  for (const line of run('squeue', '-r', '-h', '-t', 'PD', '-o', '%i %r').split('\n')) {
    const [job, reason] = line.split(' ')
    if (reason === 'BeginTime') run('scontrol', 'update', `JobId=${job}`, 'StartTime=now')
  }
}

async function lostNode() {
  const work = makeCase(at('good'), 40, false)
  penstock(['run', work.definition.replace('pack.yaml', 'single.yaml'), '--quiet'])
  penstock(['launch', 'slurm', work.definition, '--shards', '12', '--nodes', '2', '--quiet'])
  const stop = await watchStatus(work.shards)
  const killed = await killNode(work.shards)
  startNode('n2')
  await until('n2', 60, () => {
    const [state] = run('sinfo', '-h', '-n', 'n2', '-o', '%t').split('\n')
    // A node that registers itself may be faster.
    if (state.startsWith('down')) spawnSync('scontrol', ['update', 'NodeName=n2', 'State=RESUME'])
    return /^(idle|alloc|comp|mix)/.test(state) && !state.endsWith('*')
  })
  await until('the merged file', 400, () => {
    startWaitingTasks()
    return existsSync(work.output)
  })
  const { polls, states } = await stop()
  assertSame(work)
  const status = penstock(['launch', 'status', work.shards])
  assert(status.includes('12 shards: 12 done'), `unexpected status: ${status}`)
  console.log(
    `12 shards, shard ${killed} and its node killed: SHA-256 ${sha256(work.output).slice(0, 16)} as a single run`,
  )
  console.log(`status compared ${polls} times; states seen: ${states.join(', ')}`)
  return work
}

async function shuffle(packed) {
  const work = planShuffle(packed)
  penstock(['launch', 'slurm', work.shards, '--quiet'])
  await until('the shuffled file', 200, () => existsSync(work.output))
  assertSame(work)
  console.log(`a shuffle in two passes: SHA-256 ${sha256(work.output).slice(0, 16)} as on one machine`)
}

async function faultyShard() {
  const work = makeCase(at('faulty'), 3, true)
  penstock(['launch', 'slurm', work.definition, '--shards', '3', '--quiet'])
  await until('the end of the jobs', 200, () => run('squeue', '-h') === '')
  const { counts, active } = JSON.parse(penstock(['shards', 'status', work.shards, '--json']))
  assert(counts.done === 2 && counts.failed === 1, `unexpected counts: ${JSON.stringify(counts)}`)
  const [{ shard, error }] = active
  assert(error.exitCode === 65 && error.code === 'JSON_INVALID', `unexpected error: ${JSON.stringify(error)}`)
  const attempts = readFileSync(join(work.shards, `slurm-${shard}.log`), 'utf8').split('JSON_INVALID').length - 1
  assert(attempts === 1, `the faulty shard ran ${attempts} times`)
  assert(!existsSync(work.output), 'a faulty corpus was merged')
  console.log(`a faulty line: shard ${shard} ended with 65 after one attempt, no merge: ${error.message}`)
}

const started = Date.now()
try {
  await startSlurm()
  console.log(`Slurm ${run('sinfo', '--version').trim()} runs after ${((Date.now() - started) / 1000).toFixed(1)} s`)
  const { output } = await lostNode()
  await shuffle(output)
  await faultyShard()
  console.log(`passed in ${Math.round((Date.now() - started) / 1000)} s`)
} catch (error) {
  process.stderr.write(`${error.stack}\n${error.stderr ?? ''}\n`)
  process.exitCode = 1
} finally {
  for (const server of [...servers.values()].reverse()) server.kill('SIGTERM')
  await until('the end of the servers', 20, () =>
    [...servers.values()].every(s => s.exitCode !== null || s.signalCode !== null),
  ).catch(() => {})
  if (process.exitCode === undefined) rmSync(scratch, { recursive: true })
  // The status may still be watched.
  process.exit()
}
