import { expect, it } from 'vitest'
import { count, quantity } from '#src/formats/message-words'
import { blockGeometry } from '#src/sampling/block'

it('separates thousands, and names one thing in the singular', () => {
  expect([0, 999, 1000, 1234567, 999.6].map(count)).toEqual(['0', '999', '1,000', '1,234,567', '1,000'])
  expect([1, 2, 1000].map(value => quantity(value, 'token'))).toEqual(['1 token', '2 tokens', '1,000 tokens'])
})

it('is used in errors of the library', () => {
  expect(() => blockGeometry(1024, 4096, true)).toThrow('one block has 4,097 tokens, the data only 1,024')
})
