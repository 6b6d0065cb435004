/**
 * `penstock launch slurm` with stand-ins for Slurm's commands, which record their arguments and answer as Slurm 22.05 does;
 * scripts/slurm-check.mjs runs the same on a real one.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { slurmScripts } from '#src/cluster/launchers/slurm'
import { readPlan } from '#src/cluster/plan-file'
import { penstock } from '../cli/support.js'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (...names: string[]): string => join(folder, ...names)
mkdirSync(at('bin'))
const program = (name: string, script: string): void => {
  writeFileSync(at('bin', name), `#!/bin/sh\necho "${name} $*" >> ${at('calls')}\n${script}\n`)
  chmodSync(at('bin', name), 0o755)
}
program('sbatch', `wc -l < ${at('calls')}`)
program(
  'squeue',
  `case "$*" in *-j\\ 2) printf 'RUNNING None\\nRUNNING None\\nPENDING BeginTime\\n';; *) exit 1;; esac`,
)
program('scontrol', '[ "$1" = requeue ] || echo "MaxArraySize            = 4"')
program('scancel', '')
const env = { PATH: `${at('bin')}:${process.env.PATH}` }
const launch = (...args: string[]) => penstock(['launch', ...args], folder, env)
const calls = (): string[] => readFileSync(at('calls'), 'utf8').trimEnd().split('\n')

writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
writeFileSync(at('corpus.jsonl'), '{"text":"a line of text"}\n'.repeat(100))
writeFileSync(
  at('pack.yaml'),
  `name: pack
stages:
  - read-corpus: { sources: [corpus.jsonl] }
  - tokenize-batches: { tokenizer: tokenizer.json, end_of_document: '${END}' }
  - write-pbin: { path: corpus.pbin }
`,
)
const shards = at('corpus.pbin.shards')
const options = { tasks: 5, cpus: 1, retries: 3, penstock: ['penstock'] }

describe('launch slurm', () => {
  it('submits an array of at most MaxArraySize tasks and a dependent merge, which status and stop find', async () => {
    expect(await launch('slurm', 'pack.yaml', '--shards', '5', '--nodes', '2')).toMatchObject({ code: 0 })
    expect(calls()).toEqual([
      'scontrol show config',
      `sbatch --parsable ${shards}/slurm-array.sh`,
      `sbatch --parsable --dependency=afterok:2 --kill-on-invalid-dep=yes ${shards}/slurm-merge.sh`,
    ])
    const array = readFileSync(join(shards, 'slurm-array.sh'), 'utf8')
    expect(array).toContain('#SBATCH --array=0-2%2\n')
    expect(array).toContain('--shard "$SLURM_ARRAY_TASK_ID/3"')
    const { out } = await launch('status', shards)
    expect(out).toContain('5 shards: 5 waiting, 0 done')
    expect(out).toContain('Slurm job 2: 2 RUNNING, 1 PENDING (BeginTime)')
    expect(out).toContain('Slurm job 3 (merge): not in the queue')
    expect(await launch('stop', shards)).toMatchObject({ code: 0 })
    expect(calls().at(-1)).toBe('scancel 3 2')
  })

  it('has one array for each pass of a shuffle', async () => {
    const { arrays } = slurmScripts(shards, { ...(await readPlan(shards)), firstPass: 2 }, options)
    expect(arrays.map(array => /--pass (\d)/.exec(array)![1])).toEqual(['1', '2'])
  })

  it('names the folder that has no launch, and a definition without a number of shards', async () => {
    expect((await launch('status', at('bin'))).err).toContain('FILE_MISSING')
    expect(await launch('slurm', 'pack.yaml')).toMatchObject({ code: 2 })
  })
})

describe('the script of a task', () => {
  /** Runs the script with a command that ends with a code. */
  async function attempt(
    code: number,
    { restarts = '0', isStopped = false } = {},
  ): Promise<readonly [number | null, boolean]> {
    const place = at(`code-${code}-${restarts}-${isStopped}`)
    mkdirSync(place)
    writeFileSync(at('calls'), '')
    if (isStopped) writeFileSync(join(place, 'slurm-stop'), '')
    const plan = await readPlan(shards)
    const {
      arrays: [array],
    } = slurmScripts(place, plan, { ...options, penstock: ['sh', '-c', `exit ${code}`] })
    const task = { SLURM_ARRAY_JOB_ID: '7', SLURM_ARRAY_TASK_ID: '1', SLURM_RESTART_COUNT: restarts }
    const { status } = spawnSync('bash', ['-c', array!], { env: { ...env, ...task } })
    return [status, readFileSync(at('calls'), 'utf8').includes('scontrol requeue 7_1')]
  }

  it('returns to the queue after a failure that a retry can resolve, and only then', async () => {
    const outcomes = [
      await attempt(0),
      await attempt(65),
      await attempt(2),
      await attempt(75),
      await attempt(143),
      await attempt(75, { restarts: '3' }),
      await attempt(75, { isStopped: true }),
    ]
    expect(outcomes).toEqual([
      [0, false],
      [65, false],
      [2, false],
      [75, true],
      [143, true],
      [75, false],
      [75, false],
    ])
  })

  it('passes the signal before the time limit on, and waits for the end of the command', async () => {
    const plan = await readPlan(shards)
    const ended = at('ended')
    const command = `trap 'sleep 0.2; touch ${ended}; exit 75' TERM; while :; do sleep 0.05; done`
    const {
      arrays: [array],
    } = slurmScripts(shards, plan, { ...options, penstock: ['sh', '-c', command] })
    writeFileSync(at('array.sh'), array!)
    const script = `bash ${at('array.sh')} & pid=$!; sleep 0.5; kill -TERM $pid; wait $pid; echo $?`
    expect(execFileSync('bash', ['-c', script], { encoding: 'utf8', env: { ...env, SLURM_RESTART_COUNT: '9' } })).toBe(
      '75\n',
    )
    expect(existsSync(ended)).toBe(true)
  })
})
