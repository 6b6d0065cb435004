/** The worker's side of `tokenizer-thread.ts`: one tokenizer, loaded when it is first asked for, and what it is asked. */
import { WHOLE } from './beacon.js'
import { tokenIdOf } from './tokenizer-file.js'
import { workerFunction } from './worker-errors.js'
import { workerTokenizer } from './worker-tokenizer.js'

export interface FileFacts {
  readonly sha256: string
  readonly vocabSize: number
  readonly totalSize: number
}

export interface DecodeTask {
  readonly documents: readonly (readonly number[])[]
  readonly skipSpecialTokens: boolean
}

const BYTES_PER_ID = 16

export const describeFile = workerFunction(async (_: undefined, beacon): Promise<FileFacts> => {
  const { sha256, tokenizer } = (await workerTokenizer(beacon)).file
  return { sha256, vocabSize: tokenizer.vocabSize, totalSize: tokenizer.totalSize }
})

export const idsOf = workerFunction(async (tokens: readonly string[], beacon) => {
  const { tokenizer } = (await workerTokenizer(beacon)).file
  return tokens.map(token => tokenizer.idOf(token))
})

export const idOf = workerFunction(async (token: string, beacon) =>
  tokenIdOf((await workerTokenizer(beacon)).file, token),
)

export const encode = workerFunction(async (text: string, beacon) => {
  const { tokenizer } = (await workerTokenizer(beacon)).file
  beacon.begin(WHOLE, text.length)
  return tokenizer.encode(text)
})

export const decode = workerFunction(async ({ documents, skipSpecialTokens }: DecodeTask, beacon) => {
  const { tokenizer } = (await workerTokenizer(beacon)).file
  beacon.begin(WHOLE, documents.reduce((sum, ids) => sum + ids.length, 0) * BYTES_PER_ID)
  return documents.map(ids => tokenizer.decode(ids, { skipSpecialTokens }))
})
