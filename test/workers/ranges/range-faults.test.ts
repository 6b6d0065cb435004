import { serialize } from 'node:v8'
import { expect, it } from 'vitest'
import { FaultPacker, type RangeFault, unpackFaults } from '#src/workers/ranges/range-faults'
import { utf8 } from '../../stages/support.js'

const ORIGIN = 2 ** 40
const fault = (line: number): RangeFault => ({
  line,
  code: line % 3 === 0 ? 'FIELD_MISSING' : 'DOCUMENT_EMPTY',
  message: `message ${line % 7}`,
  byteOffset: ORIGIN + 12 * line,
  record: utf8('x'.repeat(line % 5)),
})

it('restores packed faults in order', () => {
  const faults = Array.from({ length: 1000 }, (_, line) => fault(line))
  const packer = new FaultPacker(ORIGIN)
  for (const each of faults) packer.add(each)
  expect([...unpackFaults(packer.packed(), ORIGIN)]).toEqual(faults)
})

it('sends many faults in few bytes each', () => {
  const packer = new FaultPacker(ORIGIN)
  for (let line = 0; line < 100_000; line++) packer.add({ ...fault(line), record: utf8('{"text":""}') })
  expect(serialize(packer.packed()).byteLength / 100_000).toBeLessThan(32)
})
