/**
 * Uses Penstock's stages in another Node.js app: packs a JSONL file with Node's own `pipeline()`, through a custom stage
 * that counts documents and bytes. Run it with:
 *   npx jiti examples/embed.ts records.jsonl tokenizer.json out.pbin
 */
import { pipeline } from 'node:stream/promises'
import {
  extractText,
  readFile,
  readLines,
  readPbin,
  sink,
  tokenizeBatches,
  transform,
  validateJson,
  writePbin,
} from 'penstock-ml/stages'

interface Documents {
  readonly bytes: Uint8Array
  readonly offsets: Uint32Array
}

/** Packs the texts of a JSONL file and returns the number of documents, bytes of text and tokens. */
export async function packRecords(jsonl: string, tokenizer: string, packed: string) {
  let documents = 0
  let textBytes = 0

  // A custom stage: it receives every batch and can inspect, change or drop it.
  const measure = transform<Documents, Documents>('measure', async function* (batches) {
    for await (const batch of batches) {
      documents += batch.offsets.length - 1
      textBytes += batch.offsets.at(-1) ?? 0
      yield batch
    }
  })

  await pipeline(
    readFile({ path: jsonl }),
    readLines({ source: jsonl }),
    validateJson({ faulty: 'skip' }),
    extractText({ field: '.text' }),
    measure,
    tokenizeBatches({ tokenizer, end_of_document: '<|endoftext|>' }),
    writePbin({ path: packed, if_exists: 'override' }),
  )

  let tokens = 0
  const countTokens = sink<{ readonly tokens: ArrayLike<number> }>('count-tokens', async batches => {
    for await (const batch of batches) tokens += batch.tokens.length
  })
  await pipeline(readPbin({ path: packed }), countTokens)

  return { documents, textBytes, tokens }
}

const [jsonl, tokenizer, packed] = process.argv.slice(2)
if (jsonl !== undefined && tokenizer !== undefined && packed !== undefined) {
  console.log(await packRecords(jsonl, tokenizer, packed))
}
