import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type Dtype,
  decodeSafetensors,
  decodeSafetensorsHeader,
  encodeSafetensors,
  planSafetensors,
  type Tensor,
  tensorByteLength,
} from '#src/formats/safetensors'

const python = process.env.PENSTOCK_PYTHON ?? 'python3'
const hasLibrary = spawnSync(python, ['-c', 'import safetensors.numpy']).status === 0

const tensors: Tensor[] = [
  { name: 'w.b', dtype: 'F32', shape: [3], data: Float32Array.of(0, 1, 2) },
  { name: 'ids', dtype: 'I64', shape: [2], data: BigInt64Array.of(0n, 1n) },
  { name: 'w.a', dtype: 'F32', shape: [2, 1], data: Float32Array.of(1, 1) },
  { name: 'h', dtype: 'U8', shape: [0, 4], data: new Uint8Array() },
  { name: 's', dtype: 'U16', shape: [], data: Uint16Array.of(7) },
]
const metadata = { step: '12', 'ü"\n': 'x' }

const invalid = expect.objectContaining({ code: 'SAFETENSORS_INVALID' })

/** A file with this header text. */
function fileOf(header: string, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(header)
  const bytes = new Uint8Array(8 + json.length + dataBytes)
  new DataView(bytes.buffer).setUint32(0, json.length, true)
  bytes.set(json, 8)
  return bytes
}

describe('writer', () => {
  test('writes the same bytes as the official library', () => {
    // safetensors 0.8.0, safetensors.numpy.save of the tensors above. Other bytes would be valid, but not reproducible.
    const header =
      '{"__metadata__":{"step":"12","ü\\"\\n":"x"},"ids":{"dtype":"I64","shape":[2],"data_offsets":[0,16]},' +
      '"w.a":{"dtype":"F32","shape":[2,1],"data_offsets":[16,24]},"w.b":{"dtype":"F32","shape":[3],"data_offsets":[24,36]},' +
      '"s":{"dtype":"U16","shape":[],"data_offsets":[36,38]},"h":{"dtype":"U8","shape":[0,4],"data_offsets":[38,38]}}   '
    const data = '0000000000000000' + '0100000000000000' + '0000803f0000803f' + '000000000000803f00000040' + '0700'
    const bytes = Buffer.from(encodeSafetensors(tensors, metadata))
    expect(bytes.readBigUInt64LE()).toBe(BigInt(Buffer.byteLength(header)))
    expect(bytes.subarray(8, -38).toString()).toBe(header)
    expect(bytes.subarray(-38).toString('hex')).toBe(data)
  })

  test('does not depend on the input order', () => {
    expect(encodeSafetensors(tensors.toReversed(), metadata)).toEqual(encodeSafetensors(tensors, metadata))
  })

  test('sorts names that look like numbers as text', () => {
    const named = (name: string): Tensor => ({ name, dtype: 'U8', shape: [1], data: Uint8Array.of(name.charCodeAt(0)) })
    const bytes = encodeSafetensors([named('b'), named('9'), named('10'), named('__proto__')])
    expect([...decodeSafetensors(bytes).tensors.keys()]).toEqual(['10', '9', '__proto__', 'b'])
    expect([...bytes.subarray(-4)]).toEqual(['1', '9', '_', 'b'].map(letter => letter.charCodeAt(0)))
  })

  test.each([
    ['two tensors of the same name', [tensors[0]!, tensors[0]!]],
    ['a tensor with the name of the metadata', [{ ...tensors[0]!, name: '__metadata__' }]],
    ['data too short for the shape', [{ ...tensors[0]!, shape: [4] }]],
    ['a negative size', [{ ...tensors[0]!, shape: [-1] }]],
    ['a size beyond 2^53', [{ ...tensors[0]!, shape: [2 ** 30, 2 ** 30] }]],
  ])('rejects %s', (_, list) => {
    expect(() => encodeSafetensors(list)).toThrow(invalid)
  })
})

describe('reader', () => {
  test('reads what was written', () => {
    const dtypes: Dtype[] = [
      'BOOL',
      'U8',
      'I8',
      'F8_E5M2',
      'F8_E4M3',
      'I16',
      'U16',
      'F16',
      'BF16',
      'I32',
      'U32',
      'F32',
      'F64',
      'I64',
      'U64',
    ]
    const anyTensor = fc
      .record({ name: fc.string(), dtype: fc.constantFrom(...dtypes), shape: fc.array(fc.nat(3), { maxLength: 4 }) })
      .chain(type => {
        const length = tensorByteLength(type)
        return fc.uint8Array({ minLength: length, maxLength: length }).map(data => ({ ...type, data }))
      })
    const anyTensors = fc.uniqueArray(anyTensor, { selector: tensor => tensor.name, maxLength: 6 })
    fc.assert(
      fc.property(anyTensors, fc.dictionary(fc.string(), fc.string()), (list, texts) => {
        const bytes = encodeSafetensors(list, texts)
        const read = decodeSafetensors(bytes)
        expect(new Map(list.map(tensor => [tensor.name, tensor]))).toEqual(new Map(read.tensors))
        expect(Object.entries(read.metadata).sort()).toEqual(Object.entries(texts).sort())
        const layout = decodeSafetensorsHeader(bytes, bytes.length)
        expect(layout.dataOffset % 8).toBe(0)
        expect(layout.tensors).toEqual(planSafetensors(list, texts).tensors)
      }),
    )
  })

  test.each([
    ['an empty file', new Uint8Array()],
    ['a header longer than the file', fileOf('{}', 0).fill(9, 0, 1)],
    ['a header of 2^64 - 1 bytes', fileOf('{}', 0).fill(255, 0, 8)],
    ['no JSON', fileOf('{', 0)],
    ['no object', fileOf('[]', 0)],
    ['a byte order mark', fileOf('\ufeff{}', 0)],
    ['deep nesting', fileOf('['.repeat(1_000_000), 0)],
    ['bytes after the tensors', fileOf('{}', 1)],
    ['an unknown type', fileOf('{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}', 1)],
    ['a type from the prototype', fileOf('{"a":{"dtype":"toString","shape":[1],"data_offsets":[0,1]}}', 1)],
    ['no shape', fileOf('{"a":{"dtype":"U8","data_offsets":[0,1]}}', 1)],
    ['a fraction', fileOf('{"a":{"dtype":"U8","shape":[0.5],"data_offsets":[0,1]}}', 1)],
    ['an overflow', fileOf('{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,1]}}', 1)],
    ['three offsets', fileOf('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}', 1)],
    ['a size that contradicts the shape', fileOf('{"a":{"dtype":"U16","shape":[1],"data_offsets":[0,1]}}', 1)],
    ['a gap', fileOf('{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', 2)],
    [
      'an overlap',
      fileOf(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        1,
      ),
    ],
    [
      'two tensors of the same name',
      fileOf(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061" :{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        1,
      ),
    ],
    ['a repeated key of a tensor', fileOf('{"a":{"dtype":"I8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1)],
    ['a tensor beyond the file', fileOf('{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}', 1)],
    ['metadata that is not text', fileOf('{"__metadata__":{"a":1}}', 0)],
  ])('rejects %s', (_, bytes) => {
    expect(() => decodeSafetensors(bytes)).toThrow(invalid)
  })

  test('a mutated file is read or rejected with a code', () => {
    const bytes = encodeSafetensors(tensors, metadata)
    fc.assert(
      fc.property(fc.nat(bytes.length - 40), fc.nat(255), fc.nat(bytes.length), (at, value, length) => {
        const mutated = bytes.slice(0, Math.max(length, at))
        mutated[at] = value
        try {
          decodeSafetensors(mutated)
        } catch (error) {
          expect(error).toEqual(invalid)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe.skipIf(!hasLibrary)('against the official library (needs safetensors in PENSTOCK_PYTHON)', () => {
  test('files are identical in both directions', () => {
    const program =
      'import sys\nfrom safetensors.numpy import load, save\ndata = sys.stdin.buffer.read()\nsys.stdout.buffer.write(save(load(data)))'
    const bytes = encodeSafetensors(tensors)
    const { status, stdout, stderr } = spawnSync(python, ['-c', program], { input: bytes })
    expect(stderr.toString()).toBe('')
    expect(status).toBe(0)
    expect(Buffer.compare(stdout, bytes)).toBe(0)
  })
})
