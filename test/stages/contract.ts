/**
 * Contract of all stages: a stage completes and counts its records; an error or abort on either side closes it and leaves
 * no output; a slow consumer throttles it; afterwards no file is open.
 */
import { existsSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable, Transform, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { beforeAll, describe, expect, it } from 'vitest'
import type { PenstockError } from '#src/errors'
import { type ItemKind, recordCount } from '#src/formats/batches'
import { objectAt } from '#src/formats/option-issue'
import { extractText } from '#src/stages/extract-text'
import { readFile } from '#src/stages/read-file'
import { readLines } from '#src/stages/read-lines'
import { readPbin } from '#src/stages/read-pbin'
import { listDocuments } from '#src/stages/samples/list-documents'
import { shuffleSamples } from '#src/stages/samples/shuffle-samples'
import type { StageRegistry } from '#src/stages/stream/stage-entry'
import { tokenizeBatches } from '#src/stages/tokenize-batches'
import { validateJson } from '#src/stages/validate-json'
import { countWords } from '#src/stages/words/count-words'
import { readWords } from '#src/stages/words/read-words'
import { writeIndex } from '#src/stages/write-index'
import { writePbin } from '#src/stages/write-pbin'
import { byteTokenizer } from './byte-tokenizer.js'
import { gather, temporaryFolder } from './support.js'

/** Paths of all options of a stage, those of nested objects included. */
function optionPaths(schema: StageRegistry[string]['options'], path: readonly string[] = []): string[][] {
  return Object.keys(objectAt(schema, path)?.shape ?? {}).flatMap(key => [
    [...path, key],
    ...optionPaths(schema, [...path, key]),
  ])
}

function withValue(options: object, [key, ...rest]: readonly string[], value: unknown): object {
  const inner = (options as Record<string, object>)[key!] ?? {}
  return { ...options, [key!]: rest.length === 0 ? value : withValue(inner, rest, value) }
}

/** Input files of the suite, 400 records, and the output folder of one case. */
export interface ContractFiles {
  readonly jsonl: string
  readonly index: string
  readonly tokenizer: string
  readonly packed: string
  readonly parquet: string
  readonly words: string
  readonly out: string
}

/** Options of a stage for the suite. */
export type ContractOptions = (files: ContractFiles) => Record<string, unknown>

/** Declares the tests of these stages. Call it once per test file, at the top level. */
export function testContract(stages: StageRegistry, options: Readonly<Record<string, ContractOptions>>): void {
  const folder = temporaryFolder()
  const at = (name: string): string => join(folder, name)
  const files = {
    jsonl: at('in.jsonl'),
    index: at('in.idx'),
    tokenizer: at('tokenizer.json'),
    packed: at('in.pbin'),
    parquet: at('in.parquet'),
    words: at('in.words'),
  }
  const { jsonl, index, tokenizer, packed, parquet, words } = files

  /** Input items by kind: many small batches. */
  const items: Partial<Record<ItemKind, unknown[]>> = {}

  beforeAll(async () => {
    const lines = Array.from({ length: 400 }, (_, line) => JSON.stringify({ text: `line ${line} `.repeat(8) }))
    writeFileSync(jsonl, `${lines.join('\n')}\n`)
    writeFileSync(tokenizer, JSON.stringify(byteTokenizer()))
    const bytes = () => readFile({ path: jsonl, chunk_bytes: 4096 })
    const texts = lines.map(line => JSON.parse(line).text)
    const columnData = [{ name: 'text', data: texts, type: 'STRING' as const }]
    writeFileSync(parquet, Buffer.from(parquetWriteBuffer({ columnData })))
    await pipeline(bytes(), readLines(), validateJson(), writeIndex({ path: index }))
    await pipeline(
      bytes(),
      readLines(),
      extractText(),
      tokenizeBatches({ tokenizer, workers: 1 }),
      writePbin({ path: packed }),
    )
    items.bytes = await gather(bytes() as never)
    items.lines = await gather(bytes() as never, readLines() as never)
    items.documents = await gather(bytes() as never, readLines() as never, extractText() as never)
    items.tokens = await gather(
      bytes() as never,
      readLines() as never,
      extractText() as never,
      tokenizeBatches({ tokenizer, workers: 1 }) as never,
    )
    await pipeline(bytes(), readLines(), extractText(), countWords({ path: words, workers: 1 }))
    items.words = await gather(readWords({ paths: [words] }) as never)
    items.spans = await gather(listDocuments({ paths: [packed] }) as never)
    items.samples = await gather(shuffleSamples({ path: packed, sequence_length: 8, batch_size: 4 }) as never)
    expect(await gather(readPbin({ path: packed }) as never)).not.toEqual([])
  })

  let cases = 0
  function freshFolder(): string {
    const out = at(`case-${cases++}`)
    mkdirSync(out)
    return out
  }

  /** Output files under their final names, which a failed run must not leave. A trainer may keep its checkpoints. */
  const outputsIn = (out: string): string[] => readdirSync(out).filter(name => name !== 'checkpoints')

  /** Files in the test's folder that this process has open. */
  function openFiles(): string[] {
    if (!existsSync('/proc/self/fd')) return []
    return readdirSync('/proc/self/fd').flatMap(descriptor => {
      try {
        const target = readlinkSync(`/proc/self/fd/${descriptor}`)
        return target.startsWith(folder) ? [target] : []
      } catch {
        return []
      }
    })
  }

  describe.each(Object.entries(stages))('%s', (name, entry) => {
    const create = (out: string) =>
      entry.create(options[name]!({ ...files, out })) as Readable & Writable & ReturnType<typeof entry.create>

    it('rejects an invalid option in its factory, naming the stage', () => {
      const invalid = { ...options[name]!({ ...files, out: 'out' }), faulty: 'perhaps', path: 7 }
      expect(() => entry.create(invalid)).toThrow(
        expect.objectContaining({ code: 'OPTION_INVALID', where: expect.objectContaining({ stage: name }) }),
      )
    })

    it('rejects a value of another type for every option in its factory, naming the option', () => {
      const good = options[name]!({ ...files, out: 'out' })
      const accepted = optionPaths(entry.options).filter(path => {
        try {
          entry.create(withValue(good, path, () => {}))
          return true
        } catch (error) {
          const { code, where } = error as PenstockError
          return code !== 'OPTION_INVALID' || where.stage !== name || !where.path?.startsWith(path[0]!)
        }
      })
      expect(accepted).toEqual([])
      expect(optionPaths(entry.options).length).toBeGreaterThan(0)
    })
    const input = (): unknown[] => items[entry.accepts!]!

    it('has options for this suite', () => {
      expect(Object.keys(options)).toContain(name)
    })

    it('completes, and opens no file before it is read', async () => {
      const out = freshFolder()
      const before = openFiles()
      const stage = create(out)
      expect(openFiles()).toEqual(before)
      const chain: unknown[] = [stage]
      if (entry.accepts !== undefined) chain.unshift(Readable.from(input()))
      if (entry.emits !== undefined) chain.push(collecting())
      await pipeline(chain as [Readable, Writable])
      await closed(stage)
      expect(openFiles()).toEqual(before)
      if (entry.emits === undefined) expect(readdirSync(out).length).toBeGreaterThan(0)
      if (entry.accepts !== undefined && entry.accepts !== 'bytes' && name !== 'feed-trainer') {
        const expected = input().reduce((sum: number, item) => sum + recordCount(item as never), 0)
        expect(stage.stats.recordsIn).toBe(expected)
      }
      // All records are valid, so none may be rejected; those dropped on purpose are counted as filtered.
      const { recordsIn, recordsOut, rejected, recounts, counts } = stage.stats
      expect(rejected).toBe(0)
      if (entry.accepts !== undefined && entry.accepts !== 'bytes' && entry.emits !== undefined && !recounts) {
        expect(recordsOut + (counts.filtered ?? 0)).toBe(recordsIn)
      }
    })

    it.runIf(entry.accepts !== undefined)('propagates an error of its source and leaves no output', async () => {
      const out = freshFolder()
      const stage = create(out)
      const chain: unknown[] = [failingAfter(input(), 2), passing(), stage]
      if (entry.emits !== undefined) chain.push(collecting())
      await expect(pipeline(chain as [Readable, Writable])).rejects.toThrow('the source broke')
      await closed(stage)
      expect(outputsIn(out)).toEqual([])
      expect(openFiles()).toEqual([])
    })

    it.runIf(entry.emits !== undefined)('closes when the next stage fails', async () => {
      const stage = create(freshFolder())
      const failing = new Writable({
        objectMode: true,
        write: (_item, _encoding, done) => done(new Error('the sink broke')),
      })
      const chain: unknown[] = [stage, failing]
      if (entry.accepts !== undefined) chain.unshift(Readable.from(input()))
      await expect(pipeline(chain as [Readable, Writable])).rejects.toThrow('the sink broke')
      await closed(stage)
      expect(openFiles()).toEqual([])
    })

    it('closes on abort and leaves no output', async () => {
      const out = freshFolder()
      const stage = create(out)
      const abort = new AbortController()
      const never = new Readable({ objectMode: true, read() {} })
      never.push(entry.accepts === undefined ? null : input()[0])
      const stuck = new Writable({ objectMode: true, highWaterMark: 1, write() {} })
      const chain: unknown[] = [stage]
      if (entry.accepts !== undefined) chain.unshift(never)
      if (entry.emits !== undefined) chain.push(stuck)
      setTimeout(() => abort.abort(), 50)
      const outcome = await pipeline(chain as [Readable, Writable], { signal: abort.signal }).catch(error => error)
      expect(outcome).toMatchObject({ name: 'AbortError' })
      await closed(stage)
      expect(outputsIn(out)).toEqual([])
      expect(openFiles()).toEqual([])
    })

    it.runIf(entry.emits !== undefined)('is throttled by a slow consumer', async () => {
      const stage = create(freshFolder())
      let maxAhead = 0
      let taken = 0
      const slow = new Writable({
        objectMode: true,
        highWaterMark: 1,
        write: (_item, _encoding, done) => {
          taken++
          setTimeout(() => {
            maxAhead = Math.max(maxAhead, stage.stats.itemsOut - taken)
            done()
          }, 2)
        },
      })
      const chain: unknown[] = [stage, slow]
      if (entry.accepts !== undefined) chain.unshift(Readable.from(input().slice(0, 12)))
      await pipeline(chain as [Readable, Writable])
      // One item is buffered in the stage, one in the slow sink.
      expect(maxAhead).toBeLessThanOrEqual(2)
      expect(taken).toBe(stage.stats.itemsOut)
    })
  })
}

const closed = (stream: Readable | Writable): Promise<void> =>
  new Promise(resolve => (stream.closed ? resolve() : void stream.once('close', resolve)))

const failingAfter = (list: readonly unknown[], count: number): Readable =>
  Readable.from(
    (function* () {
      yield* list.slice(0, count)
      throw new Error('the source broke')
    })(),
  )

const passing = (): Transform =>
  new Transform({ objectMode: true, highWaterMark: 1, transform: (item, _encoding, done) => done(null, item) })

const collecting = (): Writable =>
  new Writable({ objectMode: true, highWaterMark: 1, write: (_item, _encoding, done) => done() })
