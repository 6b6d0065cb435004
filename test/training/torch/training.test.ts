/** The torch engine on the command line: training, dying ranks, restarts, schedulers. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { ROOT, type RunningCommand, start } from '../../cli/support.js'
import { byteTokenizer, END } from '../../stages/byte-tokenizer.js'
import { temporaryFolder } from '../../stages/support.js'
import { descendants, slow, torchPython } from './fixtures.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const STEPS = 24

/** A definition that saves after every second step, so that most kills hit a save. */
function definition(checkpoints: string): string {
  const file = at(`${checkpoints}.yaml`)
  writeFileSync(
    file,
    `stages:
  - shuffle-samples: { path: ${at('data.pbin')}, sequence_length: 16, batch_size: 4, epochs: endless }
  - feed-trainer:
      tokenizer: ${at('tokenizer.json')}
      model: { sequence_length: 16, layers: 1, heads: 2, width: 32 }
      batch_size: 4
      steps: ${STEPS}
      checkpoint: { folder: ${at(checkpoints)}, every_steps: 2 }
      log_every_steps: 1
      torch: { nproc: 2, device: cpu }
`,
  )
  return file
}

const train = (checkpoints: string, ...flags: string[]): RunningCommand =>
  start(['train', definition(checkpoints), '--engine', 'torch', '--json', ...flags])

/** Losses by step in full precision; of a repeated step, the last. */
function lossesOf(err: string): Map<number, number> {
  const events = err.split('\n').filter(line => line.includes('"kind":"step"'))
  return new Map(events.map(line => JSON.parse(line).event).map(({ step, loss }) => [step, loss]))
}

function weightsHash(checkpoints: string): string {
  const file = join(at(checkpoints), `step-${String(STEPS).padStart(6, '0')}`, 'model.safetensors')
  return createHash('sha256').update(readFileSync(file)).digest('hex')
}

const isAlive = (pid: number): boolean =>
  existsSync(`/proc/${pid}/stat`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = Date.now() + slow / 3
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

const inSave = (checkpoints: string) => () =>
  existsSync(at(checkpoints)) && readdirSync(at(checkpoints)).some(name => name.endsWith('.partial'))

const ranksOf = (run: { pid: number }): number[] => descendants(run.pid, '-u -m penstock_torch')
const torchrunOf = (run: { pid: number }): number => descendants(run.pid, 'torch.distributed.run')[0]!

describe.skipIf(torchPython === undefined)('training with torch', { timeout: slow }, () => {
  let undisturbed: { losses: Map<number, number>; hash: string }

  beforeAll(async () => {
    writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
    const lines = Array.from({ length: 300 }, (_, line) =>
      JSON.stringify({ text: `a line of text, number ${line % 17}` }),
    )
    writeFileSync(at('data.jsonl'), `${lines.join('\n')}\n`)
    const files = ['pack', at('data.jsonl'), '-t', at('tokenizer.json'), '-o', at('data.pbin')]
    expect(await start([...files, '--end-of-document', END]).outcome).toMatchObject({ code: 0 })
    const { code, err } = await train('undisturbed').outcome
    expect(code, err).toBe(0)
    undisturbed = { losses: lossesOf(err), hash: weightsHash('undisturbed') }
    expect(undisturbed.losses.size).toBe(STEPS)
  }, slow)

  it('resumes bit for bit after kill -9 of a rank, torchrun and Node during saves, and leaves no processes', async () => {
    const name = 'killed'
    const victims = [
      ['a rank', (run: RunningCommand) => ranksOf(run)[1]!],
      ['torchrun', torchrunOf],
      ['Node', (run: RunningCommand) => run.pid],
    ] as const
    for (const [index, [who, victimOf]] of victims.entries()) {
      const run = train(name)
      await run.shows(`"kind":"checkpoint","step":${6 * (index + 1)},`)
      const processes = [torchrunOf(run), ...ranksOf(run)]
      expect(processes).toHaveLength(3)
      const victim = victimOf(run)
      await until('a save', inSave(name))
      process.kill(victim, 'SIGKILL')
      const { code, err } = await run.outcome
      expect(code, who).toBe(who === 'Node' ? null : 1)
      if (who !== 'Node') expect(err).toContain('"code":"ENGINE_FAILED"')
      await until(`the end of all processes after ${who}`, () => !processes.some(isAlive))
    }
    const { code, err } = await train(name).outcome
    expect(code).toBe(0)
    const losses = lossesOf(err)
    expect(losses.size).toBeGreaterThan(0)
    for (const [step, loss] of losses) expect(loss).toBe(undisturbed.losses.get(step))
    expect(weightsHash(name)).toBe(undisturbed.hash)
  })

  it('restarts when a rank dies, at most max_restarts times', async () => {
    const run = train('restarted', '--max-restarts', '1')
    await run.shows('"kind":"checkpoint","step":6,')
    process.kill(ranksOf(run)[0]!, 'SIGKILL')
    const { code, err } = await run.outcome
    expect(code, err).toBe(0)
    expect(err).toContain('"kind":"resumed"')
    expect(lossesOf(err)).toEqual(undisturbed.losses)
    expect(weightsHash('restarted')).toBe(undisturbed.hash)
  })

  it('saves its last step on Ctrl-C, ends all processes, and resumes with other ranks and micro batches of the same step', async () => {
    const half = train('resized')
    await half.shows('"kind":"step","step":5,')
    const processes = [torchrunOf(half), ...ranksOf(half)]
    half.kill('SIGINT')
    const { code, err } = await half.outcome
    expect(code, err).toBe(130)
    const last = Math.max(...lossesOf(err).keys())
    expect(readdirSync(at('resized'))).toContain(`step-${String(last).padStart(6, '0')}`)
    expect(processes.some(isAlive)).toBe(false)
    const resized = at('resized-one.yaml')
    const micro = readFileSync(definition('resized'), 'utf8').replaceAll('batch_size: 4', 'batch_size: 2')
    writeFileSync(resized, micro.replace('steps:', 'accumulation_steps: 2\n      steps:'))
    const run = start(['train', resized, '--engine', 'torch', '--nproc', '1', '--json'])
    const rest = await run.outcome
    expect(rest.code, rest.err).toBe(0)
    const [before, after] = [lossesOf(err), lossesOf(rest.err)]
    expect(after.get(Math.max(...before.keys()))).toBeUndefined()
    const losses = new Map([...before, ...after])
    expect([...losses.keys()]).toEqual([...undisturbed.losses.keys()])
    for (const [step, loss] of losses) expect(Math.abs(loss - undisturbed.losses.get(step)!)).toBeLessThan(1e-4)
  })

  it('is started by torchrun, whose elastic agent restarts it at the same position in the data', async () => {
    const run = schedule(definition('scheduled'), ['--standalone', '--nproc-per-node', '2', '--max-restarts', '1'])
    await until('step 6', () => run.err().includes('"kind":"checkpoint","step":6,'))
    process.kill(ranksOf(run)[1]!, 'SIGKILL')
    expect(await run.code, run.err()).toBe(0)
    expect(run.err()).toContain('"kind":"resumed"')
    expect(lossesOf(run.err())).toEqual(undisturbed.losses)
    expect(weightsHash('scheduled')).toBe(undisturbed.hash)
  })

  it.each(['SIGTERM', 'SIGUSR1'] as const)('saves a checkpoint when torchrun forwards %s', async name => {
    const checkpoints = `stopped-${name}`
    const launcher = ['--standalone', '--nproc-per-node', '2', '--signals-to-handle', 'SIGTERM,SIGUSR1']
    const run = schedule(definition(checkpoints), launcher)
    await until('step 6', () => run.err().includes('"kind":"step","step":6,'))
    process.kill(run.pid, name)
    await run.code
    expect(run.err().match(/"event":"stopping"/g)).toHaveLength(1)
    const last = Math.max(...lossesOf(run.err()).keys())
    expect(last).toBeLessThan(STEPS)
    expect(readdirSync(at(checkpoints))).toContain(`step-${String(last).padStart(6, '0')}`)
  })

  it('rejects machines with different definitions and names the difference', async () => {
    const other = readFileSync(definition('other'), 'utf8').replace('epochs: endless', 'epochs: endless, seed: 5')
    writeFileSync(at('seed.yaml'), other)
    const runs = [definition('other'), at('seed.yaml')].map((file, rank) => schedule(file, twoMachines(rank)))
    for (const run of runs) expect(await run.code).toBe(1)
    expect(runs[0]!.err()).toMatch(/"code":"WORLD_MISMATCH".*rank 1 has seed 5, rank 0 has 0/)
  })

  it('runs on several machines with one feeder each; stopping one stops all', async () => {
    const nodes = (name: string) => [0, 1].map(rank => schedule(definition(name), twoMachines(rank)))
    const stopped = nodes('machines')
    await until('step 6', () => stopped[0]!.err().includes('"kind":"step","step":6,'))
    process.kill(descendants(stopped[1]!.pid, 'main.js train')[0]!, 'SIGTERM')
    await Promise.all(stopped.map(run => run.code))
    const last = Math.max(...lossesOf(stopped[0]!.err()).keys())
    expect(last).toBeLessThan(STEPS)
    expect(readdirSync(at('machines'))).toContain(`step-${String(last).padStart(6, '0')}`)
    const resumed = nodes('machines')
    const codes = await Promise.all(resumed.map(run => run.code))
    expect(codes, resumed.map(run => run.err()).join('\nThe second machine:\n')).toEqual([0, 0])
    expect(resumed[1]!.err()).not.toContain('"kind":"step"')
    const losses = new Map([...lossesOf(stopped[0]!.err()), ...lossesOf(resumed[0]!.err())])
    expect(losses).toEqual(undisturbed.losses)
    expect(weightsHash('machines')).toBe(undisturbed.hash)
  })
})

/** One of two simulated machines. */
function twoMachines(rank: number): string[] {
  const meeting = ['--master-addr', '127.0.0.1', '--master-port', String(29_000 + (process.pid % 2000))]
  return ['--nnodes', '2', '--nproc-per-node', '1', ...meeting, '--node-rank', String(rank)]
}

/** torchrun with Penstock's ranks, as a scheduler starts it. */
function schedule(file: string, launcher: readonly string[]) {
  const script = ['-m', 'penstock_torch', file, '--device', 'cpu', '--json']
  const child = spawn(torchPython!, ['-m', 'torch.distributed.run', ...launcher, ...script], {
    env: { ...process.env, PYTHONPATH: join(ROOT, 'torch') },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let err = ''
  child.stderr.on('data', chunk => {
    err += chunk
  })
  const code = new Promise<number | null>(resolve => child.on('close', resolve))
  return { pid: child.pid!, code, err: () => err }
}
