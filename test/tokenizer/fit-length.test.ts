import fc from 'fast-check'
import { expect, test } from 'vitest'
import { withSpecialTokens } from '#src/tokenizer/file/special-tokens'
import { fittedLength, type LengthFit, type Side, writeFitted } from '#src/tokenizer/fit-length'
import { loadTokenizer } from '#src/tokenizer/index'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'

const PAD = 999

/** Semantics of the Hugging Face library: truncate the text, add the template tokens, pad. */
function expected(text: number[], before: number[], after: number[], fit: LengthFit): number[] {
  const room = fit.maxLength - before.length - after.length
  const isCut = fit.truncate !== undefined && room >= 0 && text.length > room
  const cut = !isCut ? text : fit.truncate === 'left' ? text.slice(text.length - room) : text.slice(0, room)
  const whole = [...before, ...cut, ...after]
  const filler = new Array<number>(fit.pad === undefined ? 0 : Math.max(0, fit.maxLength - whole.length)).fill(PAD)
  return fit.pad?.side === 'left' ? [...filler, ...whole] : [...whole, ...filler]
}

test('documents are truncated and padded as in the Hugging Face library', () => {
  const side = fc.option(fc.constantFrom<Side>('left', 'right'), { nil: undefined })
  const ids = (from: number) => fc.nat(3).map(count => Array.from({ length: count }, (_, at) => from + at))
  fc.assert(
    fc.property(
      fc.nat(12),
      ids(100),
      ids(200),
      fc.nat(14),
      side,
      side,
      (length, before, after, maxLength, cut, pad) => {
        const text = Array.from({ length }, (_, at) => at)
        const fit = { maxLength, truncate: cut, pad: pad && { side: pad, id: PAD }, keepLength: false }
        const around = { before: before.length, after: after.length }
        const document = Uint32Array.from([...before, ...text, ...after])
        const size = fittedLength(document.length, fit, around)
        const target = new Uint32Array(size + 4).fill(7)
        expect(writeFitted(document, target, 2, fit, around)).toBe(2 + size)
        expect([...target]).toEqual([7, 7, ...expected(text, before, after, fit), 7, 7])
      },
    ),
    { numRuns: 2000 },
  )
})

test('special tokens are matched first, and known ones keep their ids', () => {
  const plain = byteTokenizer()
  const special = loadTokenizer(withSpecialTokens(plain, ['li', END, '<new>']))
  const [part, end] = [special.idOf('li')!, special.idOf(END)!]
  expect([...special.encode(`line${END}<new>`)]).toEqual([part, ...special.encode('ne'), end, end + 1])
  expect([...loadTokenizer(plain).encode('line')]).toEqual([special.idOf('line')])
  expect(special.vocabSize).toBe(loadTokenizer(plain).vocabSize)
})
