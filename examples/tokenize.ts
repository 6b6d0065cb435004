/**
 * Uses the tokenizer as a library, and a sink that stops early. Run it with:
 *   npx jiti examples/tokenize.ts corpus.pbin tokenizer.json
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pipeline } from 'node:stream/promises'
import { readPbin, sink, type TokenBatch } from 'penstock-ml/stages'
import { compileKernel, loadTokenizer, type Tokenizer } from 'penstock-ml/tokenizer'

const kernelFile = createRequire(import.meta.url).resolve('penstock-ml/kernel.wasm')

/** Without `wasm`, a slower engine in TypeScript gives the same tokens. */
export const openTokenizer = (file: string): Tokenizer =>
  loadTokenizer(readFileSync(file, 'utf8'), { wasm: compileKernel(readFileSync(kernelFile)) })

/** Decodes the first documents of a packed file without reading the rest. */
export async function firstTexts(packed: string, tokenizer: Tokenizer, limit: number): Promise<string[]> {
  const texts: string[] = []
  const collect = sink<TokenBatch>('collect', async batches => {
    for await (const { tokens, lengths } of batches) {
      let start = 0
      for (const length of lengths) {
        texts.push(tokenizer.decode(tokens.subarray(start, start + length), { skipSpecialTokens: true }))
        if (texts.length === limit) return
        start += length
      }
    }
  })
  await pipeline(readPbin({ path: packed }), collect)
  return texts
}

const [packed, file] = process.argv.slice(2)
if (packed !== undefined && file !== undefined) {
  const tokenizer = openTokenizer(file)
  console.log(tokenizer.engineInfo.why, tokenizer.encode('The people'), await firstTexts(packed, tokenizer, 3))
}
