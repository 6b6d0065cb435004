import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { openTokenizer } from '#src/workers/tokenizer/load-tokenizer'
import { askTokenizer, TokenizerThread } from '#src/workers/tokenizer/tokenizer-thread'
import { byteTokenizer, END } from '../../stages/byte-tokenizer.js'
import { temporaryFolder } from '../../stages/support.js'
import { hangsAtLoad } from './hostile-files.js'

const folder = temporaryFolder()
const put = (name: string, json: object): string => {
  const path = join(folder, name)
  writeFileSync(path, JSON.stringify(json))
  return path
}
const path = put('good.json', byteTokenizer())
const text = 'a line, <|endoftext|> and \u{1f600}'

describe('a tokenizer in a thread', async () => {
  const thread = await TokenizerThread.open(path)
  afterAll(() => thread.close())

  it('gives the same results as in the main thread', async () => {
    const { tokenizer, sha256 } = await openTokenizer(path)
    const { vocabSize, totalSize } = tokenizer
    expect(thread).toMatchObject({ path, sha256, vocabSize, totalSize })
    const ids = await thread.encodePrompt(text)
    expect(ids).toEqual(tokenizer.encode(text))
    expect(await thread.decode([...ids])).toBe(text)
    expect(await thread.decodeAll([[...ids], [97]], true)).toEqual([text.replace(END, ''), tokenizer.decode([97])])
    expect(await thread.idsOf([END, 'no such token'])).toEqual([tokenizer.idOf(END), undefined])
  })

  it('encodes a prompt with the begin token of the template but without its end token', async () => {
    const { tokenizer } = await openTokenizer(path)
    const [word] = tokenizer.encode('a')
    const end = tokenizer.idOf(END)!
    const special = { SpecialToken: { id: END, type_id: 0 } }
    const single = [special, { Sequence: { id: 'A', type_id: 0 } }, special]
    const special_tokens = { [END]: { id: END, ids: [end], tokens: [END] } }
    const template = { type: 'TemplateProcessing', single, pair: single, special_tokens }
    const file = put('template.json', { ...byteTokenizer(), post_processor: template })
    expect([...(await openTokenizer(file)).tokenizer.encode('a')]).toEqual([end, word, end])
    expect([...(await askTokenizer(file, thread => thread.encodePrompt('a')))]).toEqual([end, word])
  })

  it('rejects an unknown token', async () => {
    await expect(thread.idOf('no such token')).rejects.toMatchObject({
      code: 'TOKENIZER_MISMATCH',
      where: { file: path },
    })
  })

  it('recognizes special tokens given in addition to those in the file', async () => {
    const json = byteTokenizer() as { model: { vocab: object } }
    const asked = askTokenizer(put('with-line.json', json), tokenizer => tokenizer.encodePrompt('xlinex'), ['line'])
    expect(await asked).toHaveLength(3)
  })
})

describe('a tokenizer file that hangs', () => {
  it('while loading is terminated without blocking the main thread', async () => {
    const hostile = put('at-load.json', hangsAtLoad())
    let turns = 0
    const timer = setInterval(() => turns++, 10)
    await expect(TokenizerThread.open(hostile)).rejects.toMatchObject({ code: 'WORKER_HUNG', where: { file: hostile } })
    clearInterval(timer)
    expect(turns).toBeGreaterThan(5)
  })

  it('on a text is terminated and encodes the next text', async () => {
    // Looks for the b from each a.
    const Regex = 'a*b'
    const split = { type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false }
    const json = byteTokenizer() as { pre_tokenizer: object }
    const steps = { type: 'Sequence', pretokenizers: [split, json.pre_tokenizer] }
    const asked = askTokenizer(put('of-a-text.json', { ...json, pre_tokenizer: steps }), async tokenizer => {
      await expect(tokenizer.encodePrompt('a'.repeat(150_000))).rejects.toMatchObject({ code: 'WORKER_HUNG' })
      return tokenizer.encodePrompt('b')
    })
    expect(await asked).toHaveLength(1)
  })
})
