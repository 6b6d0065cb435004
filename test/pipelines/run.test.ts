import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import type { LineBatch } from '#src/formats/batches'
import { readIndex } from '#src/formats/idx'
import { checkDefinition, definitionOf, runPipeline, type StageRegistry, stageRegistry } from '#src/pipelines/index'
import { sink, source } from '#src/stages/stream/stage'
import { temporaryFolder, textOfLines } from '../stages/support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
writeFileSync(at('a.jsonl'), '{"text":"a1"}\n{"text":"a2"}\n')
writeFileSync(at('b.jsonl'), '{"text":"b1"}\n')

const read = (name: string): unknown[] => [{ 'read-file': { path: at(name) } }, 'read-lines']

/** Runs stages of the registry, plus a sink `keep` that collects its input. */
async function run(stages: unknown[], more: StageRegistry = {}, signal?: AbortSignal) {
  const kept: LineBatch[] = []
  const keep = () =>
    sink<LineBatch>('keep', async input => {
      for await (const batch of input) kept.push(batch)
    })
  const registry = {
    ...stageRegistry,
    keep: { summary: '', accepts: 'lines', options: z.strictObject({}), create: keep },
    ...more,
  } as StageRegistry
  const [pipeline] = checkDefinition(definitionOf({ stages }), registry)
  const result = await runPipeline(pipeline!, signal === undefined ? {} : { signal })
  return { kept, result }
}

/** A sink that ends after its first batch. */
const first = {
  first: {
    summary: '',
    accepts: 'lines',
    options: z.strictObject({}),
    create: () =>
      sink('first', async input => {
        for await (const _ of input) return
      }),
  },
} as unknown as StageRegistry

/** A batch of a single line, the JSON string of `text`. */
function lineBatch(text: string): LineBatch {
  const bytes = Buffer.from(`"${text}"\n`)
  const [starts, ends, lines] = [[0], [bytes.length - 1], [0]].map(values => Uint32Array.from(values))
  const batch = {
    kind: 'lines',
    number: 0,
    byteLength: bytes.length,
    byteOffset: 0,
    firstLine: 1,
    source: text,
  } as const
  return { ...batch, bytes, starts: starts!, ends: ends!, lines: lines! }
}

describe('a running pipeline', () => {
  it('forks one stream into several stages', async () => {
    const { kept, result } = await run([
      ...read('a.jsonl'),
      { fork: [['keep'], ['validate-json', { 'write-index': { path: at('fork.idx') } }]] },
    ])
    expect(textOfLines(kept)).toEqual(['{"text":"a1"}', '{"text":"a2"}'])
    expect([...readIndex(readFileSync(at('fork.idx')))]).toEqual([0, 13, 14, 13])
    expect(result.stages.find(stage => stage.name === 'write-index')?.stats.recordsIn).toBe(2)
  })

  describe('that merges', () => {
    /** A source of one line, delivered after `ms`. */
    const line = (text: string, ms: number, log: string[]) => ({
      summary: '',
      emits: 'lines',
      options: z.strictObject({}),
      create: () =>
        source('line', async function* () {
          log.push(`start ${text}`)
          await sleep(ms)
          yield lineBatch(text)
          log.push(`end ${text}`)
        }),
    })
    const lines = (log: string[]) => ({ slow: line('s', 50, log), fast: line('f', 0, log) }) as unknown as StageRegistry

    it('reads its inputs one after the other, in the given order, and renumbers the batches', async () => {
      const log: string[] = []
      const { kept } = await run([{ merge: [['slow'], ['fast'], ['slow']] }, 'validate-json', 'keep'], lines(log))
      expect(textOfLines(kept)).toEqual(['"s"', '"f"', '"s"'])
      expect(kept.map(batch => batch.number)).toEqual([0, 1, 2])
      expect(log).toEqual(['start s', 'end s', 'start f', 'end f', 'start s', 'end s'])
    })

    it('may contain a merge, and may end in a fork', async () => {
      const merged = { merge: [[{ merge: [read('b.jsonl'), read('a.jsonl')] }, 'validate-json'], read('b.jsonl')] }
      const { kept } = await run([merged, { fork: [['keep'], [{ 'write-lines': { path: at('merged.jsonl') } }]] }])
      expect(textOfLines(kept)).toEqual(['{"text":"b1"}', '{"text":"a1"}', '{"text":"a2"}', '{"text":"b1"}'])
      expect(readFileSync(at('merged.jsonl'), 'utf8')).toBe(`${textOfLines(kept).join('\n')}\n`)
    })

    it('does not start its remaining inputs after a sink has ended early', async () => {
      const log: string[] = []
      await run([{ merge: [['slow'], ['fast']] }, 'first'], { ...lines(log), ...first })
      expect(log).not.toContain('start f')
    })

    it('reports the share of all inputs that has been read', async () => {
      const size = 400_000
      for (const name of ['x', 'y']) writeFileSync(at(`${name}.jsonl`), `"${'x'.repeat(97)}"\n`.repeat(size / 100))
      const shares: (number | undefined)[] = []
      const slowKeep = {
        keep: {
          summary: '',
          accepts: 'lines',
          options: z.strictObject({}),
          create: () =>
            sink('keep', async input => {
              for await (const _ of input) await sleep(10)
            }),
        },
      } as unknown as StageRegistry
      const slowRead = (name: string) => [{ 'read-file': { path: at(name), chunk_bytes: 16_384 } }, 'read-lines']
      const merged = [{ merge: [slowRead('x.jsonl'), slowRead('y.jsonl')] }, 'keep']
      const [pipeline] = checkDefinition(definitionOf({ stages: merged }), { ...stageRegistry, ...slowKeep })
      await runPipeline(pipeline!, {
        progressIntervalMs: 20,
        onProgress: progress => void shares.push(progress.inputShare),
      })
      expect(shares.some(share => share! > 0.2 && share! < 0.5)).toBe(true)
      expect(shares.some(share => share! > 0.5 && share! < 0.8)).toBe(true)
      expect(shares).toEqual(shares.toSorted((a, b) => a! - b!))
      expect(shares.at(-1)).toBe(1)
    })
  })

  it('throttles the fast branch of a fork to the slow one', async () => {
    let made = 0
    let slowDone = 0
    let lead = 0
    const batch = { kind: 'lines', byteLength: 1 }
    const more = {
      make: {
        summary: '',
        emits: 'lines',
        options: z.strictObject({}),
        create: () =>
          source('make', async function* () {
            for (; made < 40; made++) yield { ...batch, number: made, starts: [], ends: [] }
          }),
      },
      slow: {
        summary: '',
        accepts: 'lines',
        options: z.strictObject({}),
        create: () =>
          sink('slow', async input => {
            for await (const _ of input) {
              await new Promise(resolve => setTimeout(resolve, 2))
              lead = Math.max(lead, made - slowDone++)
            }
          }),
      },
    } as unknown as StageRegistry
    const { kept } = await run(['make', { fork: [['keep'], ['slow']] }], more)
    expect(kept).toHaveLength(40)
    expect(slowDone).toBe(40)
    expect(lead).toBeLessThanOrEqual(6)
  })

  it('keeps feeding the other branches after one stops', async () => {
    writeFileSync(at('many.jsonl'), '{"text":"x"}\n'.repeat(2000))
    const chain = [
      { 'read-file': { path: at('many.jsonl'), chunk_bytes: 4096 } },
      'read-lines',
      { fork: [['first'], ['keep']] },
    ]
    const { kept } = await run(chain, first)
    expect(textOfLines(kept)).toHaveLength(2000)
  })

  it('fails with the first error, its stage and its file, and leaves no output', async () => {
    writeFileSync(at('bad.jsonl'), '{"text":"ok"}\n{"text":\n')
    const stages = [
      ...read('bad.jsonl'),
      'validate-json',
      {
        fork: [
          [{ 'write-index': { path: at('bad.idx') } }],
          ['extract-text', { 'write-jsonl': { path: at('bad.out') } }],
        ],
      },
    ]
    await expect(run(stages)).rejects.toMatchObject({
      code: 'JSON_INVALID',
      where: { file: at('bad.jsonl'), line: 2, stage: 'validate-json' },
    })
    expect(
      readdirSync(folder)
        .filter(name => name.startsWith('bad.'))
        .toSorted(),
    ).toEqual(['bad.jsonl'])
  })

  it('stops on a signal and leaves no output', async () => {
    const abort = new AbortController()
    abort.abort()
    const stages = [...read('a.jsonl'), { 'write-index': { path: at('stopped.idx') } }]
    await expect(run(stages, {}, abort.signal)).rejects.toMatchObject({ code: 'STOPPED' })
    expect(existsSync(at('stopped.idx'))).toBe(false)
  })

  it('fails if a stage loses records', async () => {
    const { transform } = await import('#src/stages/stream/stage')
    const losing = {
      lose: {
        summary: '',
        accepts: 'lines',
        emits: 'lines',
        options: z.strictObject({}),
        create: () =>
          transform<LineBatch, LineBatch>('lose', async function* (input) {
            for await (const batch of input)
              yield { ...batch, starts: batch.starts.slice(1), ends: batch.ends.slice(1) }
          }),
      },
    } as unknown as StageRegistry
    await expect(run([...read('a.jsonl'), 'lose', 'keep'], losing)).rejects.toMatchObject({ code: 'TOTALS_MISMATCH' })
  })

  it('accepts that a stage drops records in flight when a later one needs no more', async () => {
    const { transform } = await import('#src/stages/stream/stage')
    const holding = {
      ...first,
      hold: {
        summary: '',
        accepts: 'lines',
        emits: 'lines',
        options: z.strictObject({}),
        create: () =>
          transform<LineBatch, LineBatch>('hold', async function* (input) {
            const held: LineBatch[] = []
            for await (const batch of input) if (held.push(batch) > 3) yield held.shift()!
            yield* held
          }),
      },
    } as unknown as StageRegistry
    writeFileSync(at('many.jsonl'), '{"text":"x"}\n'.repeat(2000))
    const source = [{ 'read-file': { path: at('many.jsonl'), chunk_bytes: 4096 } }, 'read-lines']
    const { result } = await run([...source, 'hold', 'first'], holding)
    const { recordsIn, recordsOut } = result.stages.find(({ name }) => name === 'hold')!.stats
    expect(recordsIn).toBeGreaterThan(recordsOut)
  })
})
