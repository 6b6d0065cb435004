import { execFileSync } from 'node:child_process'
import { readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { crc32, crc32c } from '#src/formats/crc32'
import type { RunEvent } from '#src/monitoring/run-event'
import { tensorboardSink } from '#src/monitoring/sinks/tensorboard-sink'
import { inFolder, peersPython, runThrough, stepEvents, unexpected } from '../fixtures.js'

const READ = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={'scalars': 0})
events.Reload()
scalars = {tag: [[e.step, repr(e.value), e.wall_time] for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}
print(json.dumps(scalars))
`

describe('checksums', () => {
  const check = new TextEncoder().encode('123456789')

  it('match the catalogue', () => {
    // https://reveng.sourceforge.io/crc-catalogue: the "check" values of CRC-32/ISO-HDLC and CRC-32/ISCSI.
    expect(crc32(check)).toBe(0xcbf43926)
    expect(crc32c(check)).toBe(0xe3069283)
  })

  it('can be computed incrementally', () => {
    expect(crc32(check.subarray(4), crc32(check.subarray(0, 4)))).toBe(crc32(check))
  })
})

const python = peersPython()

describe.skipIf(python === undefined)('TensorBoard reads (needs: node scripts/setup-python.mjs peers)', () => {
  const read = (folder: string): Record<string, [number, string, number][]> =>
    JSON.parse(execFileSync(python!, ['-c', READ, folder], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))

  it('every scalar, step and time', async () => {
    await inFolder(async folder => {
      await runThrough(tensorboardSink({ folder, names: 'penstock' }, unexpected), 300)
      const scalars = read(folder)
      expect(Object.keys(scalars).sort()).toEqual(['train/learning_rate', 'train/loss'])
      for (const [tag, points] of Object.entries(scalars)) {
        expect(points).toHaveLength(300)
        for (const [index, event] of stepEvents(300).entries()) {
          const [step, value, time] = points[index]!
          expect(step).toBe(event.step)
          expect(Number(value === 'nan' ? Number.NaN : value)).toBe(Math.fround(event.values[tag]!))
          expect(time).toBeCloseTo(event.time / 1000, 3)
        }
      }
    })
  })

  it('each step of a killed and resumed run once', async () => {
    await inFolder(async folder => {
      const log = (name: string, events: RunEvent[]) => {
        const sink = tensorboardSink({ folder: join(folder, name), names: 'penstock' }, unexpected)
        for (const event of events) sink.log(event)
        return sink.close()
      }
      // Killed at step 43, after a checkpoint at step 30.
      await log('1', stepEvents(43))
      const resumed = stepEvents(60).slice(30)
      await log('2', [{ kind: 'resume', time: resumed[0]!.time, step: 30, path: 'checkpoints/step-30' }, ...resumed])
      // Both files in one folder, in the order of their starts.
      for (const [run, name] of [
        ['1', 'events.out.tfevents.1.a'] as const,
        ['2', 'events.out.tfevents.2.a'] as const,
      ]) {
        renameSync(join(folder, run, readdirSync(join(folder, run))[0]!), join(folder, name))
      }
      expect(read(folder)['train/loss']!.map(([step]) => step)).toEqual(Array.from({ length: 60 }, (_, at) => at + 1))
    })
  })

  it("under Modalities' names", async () => {
    await inFolder(async folder => {
      await runThrough(tensorboardSink({ folder, names: 'modalities' }, unexpected), 2)
      expect(Object.keys(read(folder)).sort()).toEqual(['train lr mean', 'train train loss last'])
    })
  })
})
