import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readModelText } from '#src/tokenizer/file/model-text'
import { readPlan } from '#src/tokenizer/file/tokenizer-json'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { kernelModule } from '#src/workers/tokenizer/kernel-module'
import { emptyJson, PRE_TOKENIZERS, type TokenizerJson } from '../fixtures.js'
import { METASPACE, trainedJson } from '../trained.js'

const TEXT = 'the "quick" \\ brown fox, naïve café, 漢字 😀 jumps over the lazy dog\n'.repeat(30)

const kernel = kernelModule()
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
/** Readers in TypeScript and in the kernel. */
function bothWays(text: string | Uint8Array): (object | undefined)[] {
  return [undefined, kernel].map(engine => {
    const model = readModelText(typeof text === 'string' ? bytesOf(text) : text, engine)
    return model && { ...model, words: model.words() }
  })
}

/** Fields on which both readers must agree; functions cannot be compared. */
function facts(plan: ReturnType<typeof readPlan>): object {
  const { decoders, vocabulary, ...rest } = plan
  return { ...rest, vocabulary: [...vocabulary].sort(), steps: decoders?.length }
}

const asPairs = (json: TokenizerJson): TokenizerJson => ({
  ...json,
  model: {
    ...json.model,
    merges: json.model.merges.map(merge => (typeof merge === 'string' ? merge.split(' ') : merge) as [string, string]),
  },
})
const asTexts = (json: TokenizerJson): TokenizerJson => ({
  ...json,
  model: {
    ...json.model,
    merges: json.model.merges.map(merge => (typeof merge === 'string' ? merge : merge.join(' '))),
  },
})
const escaped = (text: string): string =>
  text.replace(/[^\x20-\x7e]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

describe('the text of a tokenizer.json', () => {
  const json = trainedJson(PRE_TOKENIZERS.gpt2!, TEXT)
  const expected = facts(readPlan(json))

  it('gives the result of the parsed object for every notation', () => {
    for (const form of [asPairs(json), asTexts(json)]) {
      const texts = [
        JSON.stringify(form),
        JSON.stringify(form, null, 2),
        escaped(JSON.stringify(form)),
        ` \n${JSON.stringify(form)} `,
      ]
      for (const text of texts) {
        const [byTypeScript, byKernel] = bothWays(text)
        expect(byTypeScript).toBeDefined()
        expect(byKernel).toEqual(byTypeScript)
        expect(facts(readPlan(text))).toEqual(expected)
        expect(facts(readPlan(bytesOf(text), kernel))).toEqual(expected)
      }
    }
    const characters = trainedJson(METASPACE, TEXT)
    const [read, parsed] = [loadTokenizer(JSON.stringify(characters)), loadTokenizer(characters)]
    expect(read.encode(TEXT)).toEqual(parsed.encode(TEXT))
  })

  it('is searched like a Map', () => {
    const { vocabulary } = readPlan(JSON.stringify(json))
    const map = new Map(Object.entries(json.model.vocab))
    expect(vocabulary.size).toBe(map.size)
    for (const [token, id] of map) expect(vocabulary.get(token)).toBe(id)
    expect([vocabulary.get('no such token'), vocabulary.get(''), vocabulary.has('t'), vocabulary.has('no')]).toEqual([
      undefined,
      undefined,
      true,
      false,
    ])
    expect([...vocabulary.keys()].sort()).toEqual([...map.keys()].sort())
  })

  it('goes through JSON.parse when it is not plain, with the same result', () => {
    const { vocab, merges, ...options } = json.model
    const text = JSON.stringify(json)
    const repeated = text.replace('"vocab":{', '"vocab":{"t":99999,')
    const mergesFirst = JSON.stringify({ ...json, model: { ...options, merges, vocab } })
    for (const odd of [repeated, mergesFirst]) expect(bothWays(odd)).toEqual([undefined, undefined])
    expect(readPlan(repeated).vocabulary.get('t')).toBe(vocab.t)
    expect(facts(readPlan(mergesFirst))).toEqual(expected)
  })

  it('is rejected for the same reasons', () => {
    const text = JSON.stringify(json)
    const broken = [
      text.slice(0, -1),
      `${text}x`,
      text.replace('"vocab":{', '"vocab":{"zz":-1,'),
      text.replace('"vocab":{', '"vocab":{"zz":1.5,'),
      text.replace('"vocab":{', '"vocab":{"zz":07,'),
      text.replace('"vocab":{', '"vocab":{"z\nz":7,'),
      text.replace('"merges":[', '"merges":["no space",').replace('no space', 'nospace'),
      text.replace('"merges":[', '"merges":["zz qq",'),
      text.replace('"merges":[', '"merges":[["a"],'),
      text.replace('"merges":[', '"merges":[,'),
    ]
    for (const source of broken) {
      expect(() => readPlan(source)).toThrow(expect.objectContaining({ code: 'TOKENIZER_INVALID' }))
      expect(() => readPlan(bytesOf(source), kernel)).toThrow(expect.objectContaining({ code: 'TOKENIZER_INVALID' }))
    }
    expect(() => readPlan(JSON.stringify({ ...emptyJson(null), model: { type: 'Unknown', vocab: {} } }))).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED' }),
    )
  })

  it('is read identically by the kernel for tokens of any bytes', () => {
    const token = fc.uint8Array({ minLength: 0, maxLength: 6 })
    const plain = fc.string({
      unit: fc.constantFrom('a', 'é', '漢', '😀', '\\n', '\\u00e9', '\\ud83d', '\\x', ' '),
      maxLength: 4,
    })
    const one = fc.oneof(token, plain.map(bytesOf))
    let plainOnes = 0
    fc.assert(
      fc.property(fc.array(one, { maxLength: 6 }), fc.nat(3), (tokens, spaces) => {
        const space = ' '.repeat(spaces)
        const entries = tokens.flatMap((token, id) => [
          bytesOf(`${id > 0 ? ',' : ''}${space}"`),
          token,
          bytesOf(`":${id}`),
        ])
        const merges = tokens.flatMap((token, id) => [bytesOf(id > 0 ? '","' : '"'), token, bytesOf(' '), token])
        const close = bytesOf(tokens.length > 0 ? '"' : '')
        const parts = [
          bytesOf('{"model":{"vocab":{'),
          ...entries,
          bytesOf('},"merges":['),
          ...merges,
          close,
          bytesOf(']}}'),
        ]
        for (const text of [
          Buffer.concat(parts),
          Buffer.concat([...parts.slice(0, -merges.length - 2), bytesOf(']}}')]),
        ]) {
          const [byTypeScript, byKernel] = bothWays(text)
          expect(byKernel).toEqual(byTypeScript)
          if (byTypeScript !== undefined) plainOnes++
        }
      }),
      { numRuns: 300 },
    )
    expect(plainOnes).toBeGreaterThan(40)
  })
})
