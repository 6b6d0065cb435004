/** Time to the first batch does not depend on the size of the corpus. */
import { ftruncateSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { SampleBatch } from '#src/formats/batches'
import { encodePbinHeader } from '#src/formats/pbin'
import { shuffleSamples } from '#src/stages/samples/shuffle-samples'
import { temporaryFolder } from './support.js'

const folder = temporaryFolder()

test('the first batch of a billion samples takes less than a second of CPU time, also after a skip', async () => {
  const path = join(folder, 'sparse.pbin')
  const [samples, sequence_length, batch_size] = [1e9, 16, 8]
  const dataBytes = 2 * (samples * sequence_length + 1)
  const file = openSync(path, 'w')
  writeSync(file, encodePbinHeader({ dataBytes, tokenBytes: 2 }))
  // A sparse file.
  ftruncateSync(file, 12 + dataBytes + 100)
  const { user, system } = process.cpuUsage()
  for (const skip_num_global_samples of [0, samples / 2]) {
    const source = shuffleSamples({ path, sequence_length, batch_size, skip_num_global_samples })
    for await (const batch of source as AsyncIterable<SampleBatch>) {
      expect(batch.cursor).toMatchObject({ sampleCount: samples, globalSamples: skip_num_global_samples + batch_size })
      break
    }
  }
  const spent = process.cpuUsage({ user, system })
  expect((spent.user + spent.system) / 1e6).toBeLessThan(1)
})
