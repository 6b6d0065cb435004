/** Worker of `tokenizer-thread.ts`: one tokenizer, loaded on first use, and the calls that it serves. */
import type { TemplateTokens } from '../../tokenizer/fit-length.js'
import type { EngineInfo } from '../../tokenizer/tokenizer.js'
import { WHOLE_TASK } from '../heartbeat.js'
import { workerFunction } from '../worker-function.js'
import { tokenIdOf } from './load-tokenizer.js'
import { workerTokenizer } from './worker-tokenizer.js'

export interface FileFacts {
  readonly sha256: string
  readonly vocabSize: number
  readonly totalSize: number
  readonly templateTokens: TemplateTokens
  readonly engineInfo: EngineInfo
}

export interface DecodeTask {
  readonly documents: readonly (readonly number[])[]
  readonly skipSpecialTokens: boolean
}

const BYTES_PER_ID = 16

export const describeFile = workerFunction(async (_: undefined, heartbeat): Promise<FileFacts> => {
  const { sha256, tokenizer } = (await workerTokenizer(heartbeat)).file
  const { vocabSize, totalSize, templateTokens, engineInfo } = tokenizer
  return { sha256, vocabSize, totalSize, templateTokens, engineInfo }
})

export const idsOf = workerFunction(async (tokens: readonly string[], heartbeat) => {
  const { tokenizer } = (await workerTokenizer(heartbeat)).file
  return tokens.map(token => tokenizer.idOf(token))
})

export const idOf = workerFunction(async (token: string, heartbeat) =>
  tokenIdOf((await workerTokenizer(heartbeat)).file, token),
)

export const encodePrompt = workerFunction(async (text: string, heartbeat) => {
  const { tokenizer } = (await workerTokenizer(heartbeat)).file
  heartbeat.begin(WHOLE_TASK, text.length)
  const ids = tokenizer.encode(text)
  return ids.slice(0, ids.length - tokenizer.templateTokens.after)
})

export const decode = workerFunction(async ({ documents, skipSpecialTokens }: DecodeTask, heartbeat) => {
  const { tokenizer } = (await workerTokenizer(heartbeat)).file
  heartbeat.begin(WHOLE_TASK, documents.reduce((sum, ids) => sum + ids.length, 0) * BYTES_PER_ID)
  return documents.map(ids => tokenizer.decode(ids, { skipSpecialTokens }))
})
