/** Initial weights have the same bits in both engines and in every layout of ranks. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Engine } from '#src/training/engine'
import type { ModelInput } from '#src/training/options'
import { readWeights } from '#src/training/tfjs/state-files'
import { temporaryFolder } from '../../stages/support.js'
import { openSmall, slow, torchPython, using } from './fixtures.js'

const folder = temporaryFolder()
// A width that no block of random numbers divides, and weights of several pieces.
const model: ModelInput = { vocab_size: 66, ffn_width: 22, position: 'learned', bias: true, seed: 2 ** 40 + 5 }

async function weightsOf(name: string, engine: Promise<Engine>): Promise<Map<string, number[]>> {
  const into = join(folder, name)
  mkdirSync(into)
  await using(engine, opened => opened.saveState(into))
  const weights = await readWeights(join(into, 'model.safetensors'))
  return new Map([...weights].map(([key, { values }]) => [key, [...values]]))
}

describe.skipIf(torchPython === undefined)('initial weights', { timeout: slow }, () => {
  test.each([
    ['one rank', 1, {}],
    ['three ranks', 3, {}],
    ['tensor parallelism', 2, { tensor_parallel: 2 }],
  ])('of %s have the bits of tfjs', async (name, nproc, torch) => {
    const expected = await weightsOf(`tfjs for ${name}`, openSmall('tfjs', 1, {}, model))
    const found = await weightsOf(name, openSmall('torch', nproc, { torch }, model))
    expect(found.get('model.embed_tokens.weight')!.slice(0, 3)).not.toContain(0)
    expect(found).toEqual(expected)
  })
})
