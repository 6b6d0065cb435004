/** Merging, shuffling, chunking and filtering; expected orders were computed with Python's random and numpy. */
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import { writePackedManifest } from '#src/files/manifest'
import type { TokenBatch } from '#src/formats/batches'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { concatPbin } from '#src/stages/concat-pbin'
import { filterDocuments } from '#src/stages/filter-documents'
import { readPbin } from '#src/stages/read-pbin'
import { shuffleDocuments } from '#src/stages/shuffle-documents'
import { shuffleLines } from '#src/stages/shuffle-lines'
import { RecordTable } from '#src/stages/stream/record-table'
import { writeLines } from '#src/stages/write-lines'
import { writePbin } from '#src/stages/write-pbin'
import { gather, temporaryFolder } from '../support.js'

/** numpy's order for seed 3240006108 of chunk 1 of 2 of two files with documents 0 to 9 and 100 to 104. */
const CHUNK_1 = [6, 104, 5, 9, 103, 8, 7]

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)

/** Writes a packed file whose document i consists of i + 1 tokens `first + i`. */
function packed(name: string, documents: number, first = 0, tokenBytes: 1 | 2 = 1): string {
  const pairs: [number, number][] = []
  const tokens: number[] = []
  for (let document = 0; document < documents; document++) {
    pairs.push([tokens.length * tokenBytes, (document + 1) * tokenBytes])
    for (let token = 0; token <= document; token++) tokens.push(first + document)
  }
  const data = tokenBytes === 1 ? Uint8Array.from(tokens) : new Uint8Array(Uint16Array.from(tokens).buffer)
  const header = encodePbinHeader({ dataBytes: data.byteLength, tokenBytes })
  writeFileSync(at(name), Buffer.concat([header, data, writePairList(pairs)]))
  return at(name)
}

/** The token of each document; checks the document's contents and length. */
function documentsOf(batches: readonly TokenBatch[]): number[] {
  return batches.flatMap(({ tokens, lengths }) => {
    let start = 0
    return [...lengths].map(length => {
      const document = tokens[start]!
      expect([...tokens.subarray(start, start + length)]).toEqual(Array(length).fill(document))
      expect(length).toBe((document % 100) + 1)
      start += length
      return document
    })
  })
}

const tokensOf = (stage: unknown): Promise<TokenBatch[]> => gather<TokenBatch>(stage as never)

describe('shuffle-documents', () => {
  it("orders a file as Python's random.Random(42).shuffle", async () => {
    const path = packed('ten.pbin', 10)
    const order = documentsOf(await tokensOf(shuffleDocuments({ paths: [path], seed: 42 })))
    expect(order).toEqual([7, 3, 2, 8, 5, 6, 9, 4, 0, 1])
  })

  it.each([
    [0, [0, 2, 100, 102, 3, 101, 1, 4]],
    [1, CHUNK_1],
  ])('orders chunk %i of files as numpy does with the hashed seed', async (number, expected) => {
    const paths = [packed('a.pbin', 10), packed('b.pbin', 5, 100)]
    const options = { paths, seed: 42, chunk: { number, of: 2 } }
    expect(documentsOf(await tokensOf(shuffleDocuments(options)))).toEqual(expected)
  })

  it('draws a seed if none is given, and reports it', async () => {
    const stage = shuffleDocuments({ paths: [packed('ten.pbin', 10)] })
    const order = documentsOf(await tokensOf(stage))
    const seed = Number(/(\d+)$/.exec(stage.stats.notes[0]!)![1])
    expect(documentsOf(await tokensOf(shuffleDocuments({ paths: [at('ten.pbin')], seed })))).toEqual(order)
  })

  it('rejects an empty chunk and files of different token widths', async () => {
    const two = packed('two.pbin', 2)
    await expect(
      tokensOf(shuffleDocuments({ paths: [two], seed: 1, chunk: { number: 2, of: 3 } })),
    ).rejects.toMatchObject({ code: 'DATA_TOO_SMALL' })
    const wide = packed('wide.pbin', 2, 0, 2)
    await expect(tokensOf(shuffleDocuments({ paths: [two, wide], seed: 1 }))).rejects.toMatchObject({
      code: 'TOKENIZER_MISMATCH',
      where: { file: wide },
    })
  })
})

describe('concat-pbin', () => {
  it('emits the documents of each file in turn', async () => {
    const paths = [packed('a.pbin', 10), packed('b.pbin', 5, 100)]
    const numbers = documentsOf(await tokensOf(concatPbin({ paths })))
    expect(numbers).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 101, 102, 103, 104])
  })

  it('reports a tokenizer only if all manifests name the same one', async () => {
    const paths = ['x', 'y', 'z'].map(name => packed(`${name}.pbin`, 2))
    const manifest = (sha256: string) =>
      ({
        version: 1,
        fileBytes: 0,
        checksums: [] as number[],
        dataBytes: 3,
        tokenBytes: 1,
        documents: 2,
        tokens: 3,
        tokenizer: { sha256, vocabSize: 9 },
      }) as const
    await writePackedManifest(paths[0]!, manifest('one'))
    await writePackedManifest(paths[1]!, manifest('one'))
    const ofFirst = async (chosen: string[]) => (await tokensOf(concatPbin({ paths: chosen })))[0]!.tokenizer?.sha256
    expect(await ofFirst(paths.slice(0, 2))).toBe('one')
    expect(await ofFirst(paths)).toBeUndefined()
    await writePackedManifest(paths[2]!, manifest('two'))
    await expect(ofFirst(paths)).rejects.toMatchObject({ code: 'TOKENIZER_MISMATCH', where: { file: paths[2] } })
  })
})

describe('filter-documents', () => {
  const kept = async (options: Parameters<typeof filterDocuments>[0]) => {
    const stage = filterDocuments(options)
    const batches = await gather<TokenBatch>(readPbin({ path: packed('ten.pbin', 10) }) as never, stage as never)
    const documents = documentsOf(batches)
    expect(stage.stats.counts.filtered).toBe(10 - documents.length)
    return documents
  }

  it('selects by length, by tokens and by a predicate', async () => {
    expect(await kept({ min_tokens: 3, max_tokens: 5 })).toEqual([2, 3, 4])
    expect(await kept({ with_tokens: [7] })).toEqual([7])
    expect(await kept({ without_tokens: [0, 9] })).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(await kept({ keep: (_tokens, number) => number % 4 === 1 })).toEqual([1, 5, 9])
  })

  it('writes a packed file of the remaining documents', async () => {
    await pipeline(
      readPbin({ path: packed('ten.pbin', 10) }),
      filterDocuments({ min_tokens: 9 }),
      writePbin({ path: at('long.pbin') }),
    )
    expect(documentsOf(await tokensOf(readPbin({ path: at('long.pbin') })))).toEqual([8, 9])
  })
})

describe('shuffle-lines', () => {
  const shuffled = async (paths: string[], options: object) => {
    const path = at(`out-${paths.length}-${JSON.stringify(options).length}.txt`)
    await pipeline(shuffleLines({ paths, ...options }), writeLines({ path, if_exists: 'override' }))
    return readFileSync(path, 'utf8')
  }

  it("orders lines as Python's random.Random(42).shuffle, empty ones and carriage returns included", async () => {
    writeFileSync(at('ten.txt'), '0\n\n2\n3\r\n4\n5\n6\n7\n8\n9\n')
    expect(await shuffled([at('ten.txt')], { seed: 42 })).toBe('7\n3\r\n2\n8\n5\n6\n9\n4\n0\n\n')
  })

  it('never joins a last line without line feed to another line', async () => {
    writeFileSync(at('ten.txt'), '0\n1\n2\n3\n4\n5\n6\n7\n8\n9')
    expect(await shuffled([at('ten.txt')], { seed: 42 })).toBe('7\n3\n2\n8\n5\n6\n9\n4\n0\n1\n')
  })

  it('reads a chunk of several files', async () => {
    mkdirSync(at('deep'))
    writeFileSync(at('a.txt'), '0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n')
    writeFileSync(at('deep/b.txt'), '100\n101\n102\n103\n104')
    const text = await shuffled([at('a.txt'), at('deep/b.txt')], { seed: 42, chunk: { number: 1, of: 2 } })
    expect(text.trimEnd().split('\n').map(Number)).toEqual(CHUNK_1)
  })

  it('finds lines that cross the boundaries of reads', async () => {
    const line = 'x'.repeat(99_999)
    writeFileSync(at('long.txt'), Array.from({ length: 50 }, (_, number) => `${number}${line}\n`).join(''))
    const text = await shuffled([at('long.txt')], { seed: 1 })
    const numbers = text
      .trimEnd()
      .split('\n')
      .map(each => Number(each.replaceAll('x', '')))
    expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, number) => number))
    expect(text.length).toBe(readFileSync(at('long.txt')).length)
  })
})

describe('RecordTable', () => {
  it('fails when a file became shorter', async () => {
    writeFileSync(at('short'), 'abc')
    const fd = openSync(at('short'), 'r')
    const table = new RecordTable()
    await table.addFile({ path: at('short'), fd }, async visit => visit(1, 5), undefined)
    const batches = table.inOrder(Uint32Array.of(0), new AbortController().signal)
    await expect(batches.next()).rejects.toMatchObject({ code: 'FILE_CHANGED' })
    closeSync(fd)
  })
})
