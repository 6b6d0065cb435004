import { expect, it } from 'vitest'
import { decodedParts } from '#src/pipelines/text-model'

/** Each byte is a token. */
async function partsOf(prompt: string, bytes: readonly number[]): Promise<string[]> {
  const decoder = new TextDecoder()
  async function* tokens() {
    yield* bytes
  }
  const parts: string[] = []
  for await (const part of decodedParts([...Buffer.from(prompt)], tokens(), ids =>
    decoder.decode(Uint8Array.from(ids)),
  ))
    parts.push(part)
  return parts
}

it('shows a character when its last token is generated', async () => {
  expect(await partsOf('a', [...Buffer.from('漢b')])).toEqual(['a', '漢', 'b', ''])
})

it('shows U+FFFD for a character that is incomplete at the end', async () => {
  expect((await partsOf('a', [0x62, 0xe6, 0xbc])).join('')).toBe('ab\ufffd')
})

it('shows U+FFFD for a character that another one interrupts', async () => {
  expect((await partsOf('', [0xe6, 0x62])).join('')).toBe('\ufffdb')
})
