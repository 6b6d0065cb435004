import { describe, expect, it } from 'vitest'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { emptyJson } from './fixtures.js'

const step = (type: string): object => ({ type })

describe('files that the engine cannot follow exactly', () => {
  const cases: Record<string, object> = {
    'model: type Unknown': { ...emptyJson(null), model: { type: 'Unknown', vocab: { a: 0 } } },
    'model.dropout': { ...emptyJson(null), model: { ...emptyJson(null).model, vocab: { a: 0 }, dropout: 0.1 } },
    'normalizer.normalizers[1]: type Unknown': {
      ...emptyJson(null),
      normalizer: { type: 'Sequence', normalizers: [step('NFC'), step('Unknown')] },
    },
    'pre_tokenizer.pretokenizers[0].pretokenizers[1]: type Unknown': emptyJson({
      type: 'Sequence',
      pretokenizers: [{ type: 'Sequence', pretokenizers: [step('WhitespaceSplit'), step('Unknown')] }],
    }),
    'post_processor.processors[0]: type Unknown': {
      ...emptyJson(null),
      post_processor: { type: 'Sequence', processors: [step('Unknown')] },
    },
    'decoder.decoders[1]: type Unknown': {
      ...emptyJson(null),
      decoder: { type: 'Sequence', decoders: [step('Fuse'), step('Unknown')] },
    },
  }
  for (const [place, json] of Object.entries(cases)) {
    it(`are rejected with the place of the component: ${place}`, () => {
      expect(() => loadTokenizer(json)).toThrow(
        expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringContaining(place) }),
      )
    })
  }
})

it('rejects files that are not a tokenizer.json as invalid', () => {
  const broken = { ...emptyJson(null), model: { type: 'BPE', vocab: { a: 0 }, merges: ['a b'] } }
  for (const file of ['', '[]', '{', '{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}', broken]) {
    expect(() => loadTokenizer(file)).toThrow(expect.objectContaining({ code: 'TOKENIZER_INVALID' }))
  }
})
