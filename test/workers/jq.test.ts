/** extract-text with filters that need full jq. */
import { describe, expect, it } from 'vitest'
import type { DocumentBatch } from '#src/formats/batches'
import { extractText } from '#src/stages/extract-text'
import { readLines } from '#src/stages/read-lines'
import { FullJq } from '#src/workers/jq'
import { chunked, gather, utf8 } from '../stages/support.js'

async function textsOf(field: string, lines: string) {
  const stage = extractText({ field, faulty: 'skip' })
  const found = await gather<DocumentBatch>(chunked(utf8(lines), 1000), readLines() as never, stage as never)
  const texts = found.flatMap(({ bytes, offsets }) =>
    [...offsets.subarray(1)].map((end, at) => Buffer.from(bytes.subarray(offsets[at], end)).toString('utf8')),
  )
  return { texts, rejected: stage.stats.rejected }
}

describe('a filter that needs full jq', () => {
  it.each([
    ['.text | gsub("[0-9]+"; "#")', ['a#', 'ü #']],
    ['def twice: . + .; .text | twice', ['a1a1', 'ü 22ü 22']],
    ['reduce .text as $x (""; . + $x) # a remark', ['a1', 'ü 22']],
    ['.text | @base64', ['YTE=', 'w7wgMjI=']],
    ['" \\(.text)\\u3000" | @text | trim | .[:index("2")] // @text', ['a1', 'ü ']],
    ['"\\(.text)" | @text | (indices("2") | tostring)', ['[]', '[2,3]']],
  ])('runs %s', async (field, expected) => {
    const lines = '{"text":"a1"}\n{"text":"ü 22"}\n'
    expect(await textsOf(field, lines)).toEqual({ texts: expected, rejected: 0 })
  })

  it('rejects only the records on which it fails', async () => {
    const lines = '{"text":"a1"}\n{"text":7}\n{"text":"\\ud800"}\n{"other":1}\nno JSON\n{"text":"z9"}\n'
    expect(await textsOf('.text | sub("[0-9]"; "")', lines)).toEqual({ texts: ['a', 'z'], rejected: 4 })
    expect(await textsOf('if .text == 7 then halt_error else .text | @text end | sub("1"; "")', lines)).toMatchObject({
      texts: ['a', 'null', 'z9'],
    })
  })

  it('that loops endlessly makes the record faulty', async () => {
    const lines = '{"text":"a1"}\n{"text":"loop"}\n{"text":"z9"}\n'
    const field = 'def f: if . == "loop" then f else . end; .text | f'
    expect(await textsOf(field, lines)).toEqual({ texts: ['a1', 'z9'], rejected: 1 })
    const failing = gather(chunked(utf8(lines), 1000), readLines() as never, extractText({ field }) as never)
    await expect(failing).rejects.toMatchObject({ code: 'WORKER_HUNG', where: { line: 2 } })
  }, 120_000)

  it('that is compiled and loops too long makes the record faulty', async () => {
    const field = 'if .text == "loop" then last(range(1e12) | range(1e12)) else .text end'
    expect(await textsOf(field, '{"text":"a1"}\n{"text":"loop"}\n')).toEqual({ texts: ['a1'], rejected: 1 })
  }, 120_000)

  it('that exhausts the memory of jq makes only its record faulty', async () => {
    const lines = '{"text":"a1"}\n{"text":"big"}\n{"text":"z9"}\n'
    const field = 'def g: . + .; def f: g | f; if .text == "big" then "xxxxxxxxxxxxxxxx" | f else .text end'
    expect(await textsOf(field, lines)).toEqual({ texts: ['a1', 'z9'], rejected: 1 })
  }, 120_000)

  it('is rejected when it is invalid or reads further inputs', async () => {
    await expect(FullJq.open('def f: ; f')).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(FullJq.open('nothing_like_it')).rejects.toMatchObject({ code: 'OPTION_INVALID' })
    await expect(textsOf('input | @text', '1\n2\n')).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })
})
