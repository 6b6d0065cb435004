/** Complete runs from the command line, with every sink working and with every sink failing. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { FIGURES, figureText } from '#src/monitoring/dashboard/page/figures'
import { openRunLog } from '#src/monitoring/dashboard/run-log'
import { inFolder } from './fixtures.js'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const STEPS = 30

/** A packed file with one document that repeats the ids 0 to 10. */
function pbin(tokenCount: number): Buffer {
  const index = Buffer.from('\x80\x04]K\x00J\0\0\0\0\x86a.', 'latin1')
  index.writeInt32LE(tokenCount, 6)
  const header = Buffer.alloc(12)
  header.writeBigUInt64LE(BigInt(tokenCount))
  header.writeUInt32LE(1, 8)
  return Buffer.concat([header, Buffer.from(Array.from({ length: tokenCount }, (_, token) => token % 11)), index])
}

function definition(folder: string, monitoring: string, logEvery = 1): string {
  writeFileSync(join(folder, 'data.pbin'), pbin(2001))
  const file = join(folder, 'train.yaml')
  writeFileSync(
    file,
    `name: tiny
stages:
  - shuffle-samples: { path: ${folder}/data.pbin, sequence_length: 8, batch_size: 4, epochs: endless }
  - feed-trainer:
      steps: ${STEPS}
      batch_size: 4
      log_every_steps: ${logEvery}
      model: { vocab_size: 12, sequence_length: 8, layers: 1, heads: 2, width: 16 }
      held_out: { path: ${folder}/data.pbin, allow_overlap: true }
      evaluation: { every_steps: 10, batches: 2 }
      checkpoint: { folder: ${folder}/checkpoints, every_steps: 10 }
${monitoring}`,
  )
  return file
}

interface Finished {
  readonly code: number | null
  readonly err: string
}

function start(
  file: string,
  ...flags: string[]
): { child: ChildProcess; said: () => string; finished: Promise<Finished> } {
  const child = spawn(process.execPath, [main, 'run', file, ...flags], { stdio: ['ignore', 'ignore', 'pipe'] })
  let err = ''
  child.stderr!.on('data', chunk => {
    err += chunk
  })
  const finished = new Promise<Finished>(resolve => child.on('close', code => resolve({ code, err })))
  return { child, said: () => err, finished }
}

/** The losses that a run with --json printed, with all digits. */
const lossesIn = (err: string): string[] =>
  [...err.matchAll(/"kind":"step".*?"loss":([\d.e-]+)/g)].map(match => match[1]!)

const onlyFile = (folder: string): string => join(folder, ...readdirSync(folder))

/** The 32-bit numbers that follow each occurrence of a mark. */
function floatsAfter(bytes: Buffer, mark: string): number[] {
  const found: number[] = []
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1)) {
    found.push(bytes.readFloatLE(at + mark.length))
  }
  return found
}

describe('a training', () => {
  it('is logged to every sink', async () => {
    await inFolder(async folder => {
      const run = join(folder, 'run')
      const sinks = ['jsonl', 'tensorboard', 'wandb', 'prometheus', 'trace', 'results']
        .map(name => `  ${name}:\n`)
        .join('')
      const file = definition(folder, `monitoring:\n  folder: ${run}\n${sinks}`)
      const { code, err } = await start(file, '--json').finished
      expect(code, err).toBe(0)
      const log = await openRunLog(join(run, 'log.jsonl'))
      await log.close()
      const summary = log.history.summary()!
      expect(summary).toMatchObject({ lastStep: STEPS, outcome: 'done', info: { name: 'tiny' } })
      expect(summary.info.config['feed-trainer']).toMatchObject({ steps: STEPS, model: { width: 16 } })
      expect(summary.totalSteps).toBe(STEPS)
      // Three checkpoints and the end.
      expect(summary.notes).toHaveLength(4)
      const { values } = log.history.series('train/loss', { from: 0, to: STEPS, limit: 1000 })
      expect(values.map(String)).toEqual(lossesIn(err))
      expect(log.history.series('held_out/loss', { from: 0, to: STEPS, limit: 9 }).steps).toEqual(
        expect.arrayContaining([10, 20, 30]),
      )
      expect(readFileSync(join(run, 'metrics.prom'), 'utf8')).toMatch(/^penstock_step\{.*\} 30$/m)
      expect(JSON.parse(readFileSync(join(run, 'trace.json'), 'utf8')).length).toBeGreaterThan(STEPS)
      expect(readFileSync(join(run, 'results.jsonl'), 'utf8')).toContain('"train loss last"')
      expect(readdirSync(join(run, 'tensorboard'))).toHaveLength(1)
      expect(readdirSync(join(run, 'wandb'))).toHaveLength(1)
    })
  })

  it('has the same loss in terminal, table, chart, W&B and TensorBoard', async () => {
    await inFolder(async folder => {
      const run = join(folder, 'run')
      const sinks = '  jsonl:\n  tensorboard:\n  wandb:\n'
      const { code, err } = await start(definition(folder, `monitoring:\n  folder: ${run}\n${sinks}`, 7)).finished
      expect(code, err).toBe(0)
      const log = await openRunLog(join(run, 'log.jsonl'))
      await log.close()
      const printed = [...err.matchAll(/step +(\d+)\/30 {2}loss (\S+)/g)].map(([, step, loss]) => [Number(step), loss])
      expect(printed.map(([step]) => step)).toEqual([7, 14, 21, 28, 30])
      expect(/finished: 30 of 30 steps, loss ([\d.]+)/.exec(err)![1]).toBe(printed.at(-1)![1])
      const { steps, values } = log.history.series('train/loss', { from: 0, to: STEPS, limit: 1000 })
      expect(steps.map((step, index) => [step, values[index]!.toFixed(4)])).toEqual(printed)
      const table = FIGURES.find(({ key }) => key === 'loss')!
      expect(figureText(table, log.history.summary()!)).toBe(printed.at(-1)![1])
      const tensorboard = readFileSync(onlyFile(join(run, 'tensorboard')))
      expect(floatsAfter(tensorboard, 'train/loss\x15')).toEqual(values.map(value => Math.fround(value!)))
      const wandb = readFileSync(onlyFile(onlyFile(join(run, 'wandb'))), 'latin1')
      const uploaded = [...wandb.matchAll(/train\/loss[^\d.]{1,3}(\d\.\d+)/g)].map(match => Number(match[1]))
      // The last one is that of the summary.
      expect(uploaded).toEqual([...values, values.at(-1)])
    })
  })

  it('has bit-identical losses if every sink fails', async () => {
    await inFolder(async folder => {
      const blocked = join(folder, 'blocked')
      writeFileSync(blocked, '')
      const file = (name: string, monitoring: string): string => {
        mkdirSync(join(folder, name))
        return definition(join(folder, name), monitoring)
      }
      const sinks = ['tensorboard', 'wandb', 'prometheus', 'results'].map(name => `  ${name}:\n`).join('')
      const full = existsSync('/dev/full') ? '  jsonl: { path: /dev/full }\n  trace:\n' : '  jsonl:\n  trace:\n'
      const plain = await start(file('plain', ''), '--json').finished
      const broken = await start(file('broken', `monitoring:\n  folder: ${blocked}\n${sinks}${full}`), '--json')
        .finished
      expect(broken.code, broken.err).toBe(0)
      expect(lossesIn(broken.err)).toHaveLength(STEPS)
      expect(lossesIn(broken.err)).toEqual(lossesIn(plain.err))
      for (const name of ['tensorboard', 'wandb', 'prometheus', 'results', 'jsonl', 'trace']) {
        expect(broken.err.split(`{"event":"sink-error","sink":"${name}",`)).toHaveLength(2)
      }
    })
  })

  it('serves its dashboard while it runs, and ends even with a page open', async () => {
    await inFolder(async folder => {
      const { said, finished } = start(definition(folder, ''), '--dashboard')
      await expect.poll(said, { timeout: 20_000 }).toMatch(/dashboard: http:/)
      const address = /http:\S+/.exec(said())![0]
      const live = await fetch(`${address}api/live`)
      const names = new Set<string>()
      const { runs } = (await (await fetch(`${address}api/runs`)).json()) as { runs: { info: { name: string } }[] }
      expect(runs[0]!.info.name).toBe('tiny')
      const decoder = new TextDecoder()
      for await (const chunk of live.body!) {
        for (const [, name] of decoder.decode(chunk, { stream: true }).matchAll(/^event: (\w+)$/gm)) names.add(name!)
      }
      expect((await finished).code).toBe(0)
      expect([...names]).toEqual(expect.arrayContaining(['metrics', 'run']))
    })
  })
})
