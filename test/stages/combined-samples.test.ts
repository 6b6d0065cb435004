/**
 * Samples of several packed files are the concatenated samples of the single files, in every order of a single file.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { SampleBatch } from '#src/formats/batches'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { type ShuffleSamplesOptions, shuffleSamples } from '#src/stages/samples/shuffle-samples'
import { gather, temporaryFolder } from './support.js'

const folder = temporaryFolder()

function packed(name: string, count: number, first: number): string {
  const tokens = Uint8Array.from({ length: count }, (_, at) => (first + at) % 251)
  const path = join(folder, name)
  const header = encodePbinHeader({ dataBytes: count, tokenBytes: 1 })
  writeFileSync(path, Buffer.concat([header, tokens, writePairList([[0, count]])]))
  return path
}

const [first, second] = [packed('first.pbin', 50, 0), packed('second.pbin', 31, 100)]

async function samples(options: Partial<ShuffleSamplesOptions>): Promise<number[][]> {
  const source = shuffleSamples({ path: first, sequence_length: 6, batch_size: 1, shuffle: 'none', ...options })
  return (await gather<SampleBatch>(source)).map(({ tokens }) => [...tokens])
}

test.each([true, false])('no sample crosses a file boundary (reuse_last_target %s)', async reuse => {
  const options = { reuse_last_target: reuse }
  const both = await samples({ ...options, more_paths: [second] })
  expect(both).toEqual([...(await samples(options)), ...(await samples({ ...options, path: second }))])
})

test('shuffling, from/to and the cursor cover the samples of all files', async () => {
  const more_paths = [second]
  const inOrder = await samples({ more_paths })
  const shuffled = await samples({ more_paths, shuffle: 'torch', seed: 3 })
  expect(shuffled).not.toEqual(inOrder)
  expect(shuffled.map(String).sort()).toEqual(inOrder.map(String).sort())
  const halves = [await samples({ more_paths, to: 0.7 }), await samples({ more_paths, from: 0.7 })]
  expect(halves.flat()).toEqual(inOrder)
  const [batch] = await gather<SampleBatch>(
    shuffleSamples({ path: first, more_paths, sequence_length: 6, batch_size: 2 }),
  )
  expect(batch!.cursor).toMatchObject({ dataBytes: 81, sampleCount: inOrder.length })
})
