import { mkdir, open, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { planSafetensors } from '#src/formats/safetensors'
import {
  type FileWriter,
  indexFile,
  type LazyTensor,
  lazyTensor,
  modelFile,
  TensorReader,
  valuesOf,
  weightDtypes,
  writeModel,
  zerosOf,
} from '#src/training/tensor-files'
import { temporaryFolder } from '../stages/support.js'

const root = temporaryFolder()

/** Tensors of 40, 24 and 4 values, which every type represents exactly. */
const tensors = new Map<string, LazyTensor>(
  Object.entries({ c: [10, 4], a: [4, 6], b: [4] }).map(([name, shape], number) => {
    const size = shape.reduce((product, length) => product * length, 1)
    return [name, lazyTensor({ shape, values: Float32Array.from({ length: size }, (_, index) => index / 4 - number) })]
  }),
)

/** Writes files into a folder. */
const writerIn =
  (folder: string): FileWriter =>
  async (name, content) => {
    const parts: Uint8Array[] = []
    await content({ write: async bytes => parts.push(bytes) })
    await writeFile(join(folder, name), Buffer.concat(parts))
  }

async function folderOf(name: string): Promise<string> {
  const folder = join(root, name)
  await mkdir(folder)
  return folder
}

describe.each(weightDtypes)('a model in %s', dtype => {
  const width = dtype === 'F32' ? 4 : 2

  test.each([
    ['one file', 68, [modelFile]],
    ['shards', 44, ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors', indexFile]],
  ])('is the same after writing and reading it as %s', async (kind, elements, names) => {
    const folder = await folderOf(`${dtype} ${kind}`)
    expect(await writeModel(writerIn(folder), tensors, dtype, elements * width)).toEqual(names)
    expect((await readdir(folder)).sort()).toEqual([...names].sort())
    const reader = await TensorReader.openModel(folder)
    expect([...reader.tensors.keys()].sort()).toEqual(['a', 'b', 'c'])
    for (const [name, tensor] of tensors) {
      const found = reader.tensors.get(name)!
      expect(found.shape).toEqual(tensor.shape)
      expect(await valuesOf(found)).toEqual(await valuesOf(tensor))
    }
    await reader.close()
  })
})

test('the index names the shard of each tensor and the size of all', async () => {
  const folder = await folderOf('index')
  await writeModel(writerIn(folder), tensors, 'BF16', 60)
  const index = JSON.parse(await readFile(join(folder, indexFile), 'utf8'))
  expect(index.metadata.total_size).toBe(2 * 68)
  expect(index.weight_map).toEqual({
    c: 'model-00001-of-00002.safetensors',
    a: 'model-00002-of-00002.safetensors',
    b: 'model-00002-of-00002.safetensors',
  })
})

test('a tensor of more than 2 GiB is read in pieces', { timeout: 120_000 }, async () => {
  const folder = await folderOf('large')
  const shape = [600_000, 1000]
  const file = join(folder, modelFile)
  const { header, dataOffset } = planSafetensors([{ name: 'a', dtype: 'F32', shape }])
  await writeFile(file, header)
  const end = dataOffset + 4 * 600_000_000
  await truncate(file, end)
  const handle = await open(file, 'r+')
  await handle.write(Buffer.from(Float32Array.of(7).buffer), 0, 4, end - 4)
  await handle.close()
  const reader = await TensorReader.openModel(folder)
  let [count, largest, last] = [0, 0, 0]
  for await (const piece of reader.tensors.get('a')!.pieces()) {
    count += piece.length
    largest = Math.max(largest, piece.length)
    last = piece.at(-1)!
  }
  await reader.close()
  expect(count).toBe(600_000_000)
  expect(largest).toBeLessThanOrEqual(1 << 22)
  expect(last).toBe(7)
})

test('zeros are created in pieces', async () => {
  let count = 0
  for await (const piece of zerosOf([3, 2 ** 21]).pieces()) count += piece.filter(value => value === 0).length
  expect(count).toBe(3 * 2 ** 21)
})

describe('is rejected:', () => {
  test.each([
    ['an index that is not JSON', '{'],
    ['an index without weights', '{}'],
    ['a shard outside the folder', JSON.stringify({ weight_map: { a: '../model.safetensors' } })],
  ])('%s', async (name, index) => {
    const folder = await folderOf(name)
    await writeFile(join(folder, indexFile), index)
    await expect(TensorReader.openModel(folder)).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
  })

  test('a tensor in two shards, a truncated file and other types', async () => {
    const folder = await folderOf('invalid')
    const file = join(folder, modelFile)
    await writeModel(writerIn(folder), tensors, 'F32')
    await expect(TensorReader.open([file, file])).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    await truncate(file, (await stat(file)).size - 1)
    await expect(TensorReader.openModel(folder)).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    const { header } = planSafetensors([{ name: 'a', dtype: 'I64', shape: [1] }])
    await writeFile(file, Buffer.concat([header, Buffer.alloc(8)]))
    await expect(TensorReader.openModel(folder)).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
      message: expect.stringContaining('I64'),
    })
  })
})
