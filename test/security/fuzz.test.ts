/** Every parser reads or rejects damaged input with a code; `node scripts/fuzz.mjs` runs the same check for longer. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PenstockError } from '#src/errors'
import { mutated, targets } from '../../scripts/fuzz/targets.mjs'
import { ROOT } from '../cli/support.js'

const all = targets({
  sentencePiece: readFileSync(join(ROOT, 'test/fixtures/sentencepiece/bpe-bytes.model')),
})

describe.each(Object.entries(all))('%s', (_, { sample, parse }) => {
  it('is read when intact', () => {
    expect(parse(sample)).not.toBe(false)
  })

  it('is read or rejected with a code when damaged', () => {
    let refused = 0
    fc.assert(
      fc.property(fc.infiniteStream(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })), numbers => {
        try {
          if (parse(mutated(sample, () => numbers.next().value as number)) === false) refused++
        } catch (error) {
          expect(error).toBeInstanceOf(PenstockError)
          expect((error as PenstockError).code).not.toBe('INTERNAL')
          refused++
        }
      }),
      { numRuns: 400 },
    )
    expect(refused).toBeGreaterThan(0)
  })
})
