/** Converts a checkpoint and its tokenizer to a Hugging Face folder, and back. */

import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { PenstockError, toPenstockError } from '../../errors.js'
import { removeFile } from '../../files/durable.js'
import { writeOver } from '../../files/replace-file.js'
import type { TokenizerReference } from '../../formats/batches.js'
import { findCheckpoint } from '../../pipelines/text-model.js'
import { type Checkpoint, saveCheckpoint } from '../../training/checkpoint.js'
import { tokenizerPathOf } from '../../training/checkpoint-tokenizer.js'
import {
  layoutOf,
  layoutTitle,
  openHuggingFace,
  type WeightFormat,
  writeHuggingFaceConfig,
  writeHuggingFaceWeights,
} from '../../training/hugging-face/hugging-face.js'
import { isModelCard, modelCard } from '../../training/hugging-face/model-card.js'
import { type ModelOptions, parseTraining, resolveModel } from '../../training/options.js'
import { maxShardBytes, modelFile, TensorReader, writeTensors } from '../../training/tensor-files.js'
import { tokenizerReference } from '../../workers/tokenizer/load-tokenizer.js'
import { askTokenizer } from '../../workers/tokenizer/tokenizer-thread.js'
import { notify, reportDamaged } from '../output/notices.js'
import type { OutputFlags } from '../output/shared-options.js'
import { count } from '../output/terminal.js'
import { planTokenizerExport, type TokenizerExport, writeTokenizer } from './export-tokenizer.js'

/** Files of an export. `config.json` is written last: without it, the export is incomplete. */
const WEIGHTS = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/
const CONFIG = 'config.json'
const CARD = 'README.md'
const OTHER_FILES = [
  'generation_config.json',
  'tokenizer.json',
  'tokenizer.model',
  'tokenizer_config.json',
  'chat_template.jinja',
]
/** Files of other exports that transformers would read in addition. */
const FOREIGN_FILES = ['special_tokens_map.json', 'added_tokens.json', 'vocab.json', 'merges.txt']

/** Endings of temporary files, see files/side-files.ts. */
const TEMPORARY = /\.(part|lock)$/

export interface ExportOptions {
  /** The tokenizer to include; defaults to that of the checkpoint. */
  readonly tokenizer?: string | undefined
  /** The model's end token; defaults to the token that ends the documents of the training data. */
  readonly endOfDocument?: string | undefined
  readonly dtype?: WeightFormat['dtype'] | undefined
  readonly maxShardBytes?: number | undefined
}

/**
 * Writes a folder for AutoModelForCausalLM and AutoTokenizer of transformers.
 * @returns lines that describe the output
 * @throws FILE_MISSING, CHECKPOINT_INVALID, UNSUPPORTED, TOKENIZER_MISMATCH, FILE_UNWRITABLE
 */
export async function convertCheckpoint(from: string, folder: string, options: ExportOptions = {}): Promise<string> {
  const checkpoint = await findCheckpoint(from, reportDamaged)
  const { path, state } = checkpoint
  const model = resolveModel(state.model)
  const layout = layoutTitle(layoutOf(model))
  const tokenizerPath = options.tokenizer ?? (await tokenizerOf(checkpoint))
  const endOfDocument = options.endOfDocument ?? state.endOfDocumentId
  if (tokenizerPath === undefined && typeof endOfDocument === 'string') {
    throw new PenstockError('ARGUMENT_INVALID', '--end-of-document requires --tokenizer for this checkpoint')
  }
  const tokenizer =
    tokenizerPath === undefined
      ? undefined
      : await planTokenizerExport(tokenizerPath, endOfDocument, model.sequence_length)
  if (tokenizer !== undefined) requireSameTokenizer(state.tokenizer, tokenizer)
  await requireOtherFolder(folder, [path, ...(tokenizer === undefined ? [] : [dirname(tokenizer.path)])])
  const reader = await TensorReader.open([join(path, modelFile)])
  const { dtype = 'F32' } = options
  try {
    for (const name of [CONFIG, ...OTHER_FILES, ...FOREIGN_FILES, ...(await weightFilesIn(folder))]) {
      await removeFile(join(folder, name))
    }
    const format = { dtype, maxShardBytes: options.maxShardBytes ?? maxShardBytes }
    await writeHuggingFaceWeights(folder, { model, weights: reader.tensors }, format)
  } finally {
    await reader.close()
  }
  if (tokenizer !== undefined) await writeTokenizer(folder, tokenizer)
  await writeCard(folder, modelCard({ model, state, layout, dtype }))
  const ids = tokenizer?.ids ?? { eos: state.endOfDocumentId }
  await writeHuggingFaceConfig(folder, model, ids, dtype)
  const lines = [
    `${folder}: ${layout} layout, from ${path} (step ${count(state.step)})`,
    ...tokenizerNotes(tokenizer, state.tokenizer),
    ...(ids.eos === undefined ? ['note: no end token is known; pass --end-of-document to set it'] : []),
  ]
  return lines.join('\n')
}

/** Keeps a README.md that was not written by an export. @throws FILE_UNREADABLE, FILE_UNWRITABLE */
async function writeCard(folder: string, card: string): Promise<void> {
  const path = join(folder, CARD)
  const existing = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  })
  if (existing === undefined || isModelCard(existing)) await writeOver(path, card)
}

function tokenizerNotes(tokenizer: TokenizerExport | undefined, trainedWith: TokenizerReference | undefined): string[] {
  if (tokenizer === undefined) {
    const reason =
      trainedWith === undefined
        ? 'the checkpoint does not record a tokenizer'
        : `${trainedWith.path} is missing or has changed since training`
    return [`note: exported without a tokenizer, because ${reason}; pass --tokenizer to include it`]
  }
  return tokenizer.path.endsWith('.model')
    ? ['note: load this SentencePiece tokenizer with AutoTokenizer.from_pretrained(folder, use_fast=False)']
    : []
}

/** @throws TOKENIZER_MISMATCH */
function requireSameTokenizer(trainedWith: TokenizerReference | undefined, { path, sha256 }: TokenizerReference): void {
  if (trainedWith === undefined || trainedWith.sha256 === sha256) return
  throw new PenstockError(
    'TOKENIZER_MISMATCH',
    `the model was trained with a different tokenizer (${trainedWith.path})`,
    { file: path },
  )
}

/**
 * Whether to write a folder under the policy for existing ones; prints a line if it is skipped.
 * @throws FILE_EXISTS for a folder that is not empty, FILE_UNREADABLE
 */
export async function shouldWriteFolder(folder: string, ifExists: OutputFlags['ifExists']): Promise<boolean> {
  const stats = await stat(folder).catch(() => undefined)
  if (stats === undefined || ifExists === 'override') return true
  if (stats.isDirectory() && (await isUnfinished(folder))) return true
  if (ifExists === 'skip') {
    notify(`${folder}: already exists, skipped`, { event: 'skipped', outputs: [folder] })
    return false
  }
  const message =
    'the folder is not empty: pass --if-exists override to replace the model in it, or choose another folder'
  throw new PenstockError('FILE_EXISTS', message, { file: folder })
}

/** Whether a folder is empty or contains only what an interrupted conversion leaves. @throws FILE_UNREADABLE */
async function isUnfinished(folder: string): Promise<boolean> {
  const entries = await readdir(folder).catch(error => {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: folder })
  })
  const names = entries.filter(name => !/^\.step-\d+\.(partial|old)$/.test(name))
  const written = new Set([...OTHER_FILES, CARD])
  const isTemporary = (name: string): boolean => TEMPORARY.test(name)
  const finalName = (name: string): string => name.replace(TEMPORARY, '')
  const isExport = names.some(name => WEIGHTS.test(finalName(name)))
  // The configuration is complete once it has been renamed, but a run that was killed then has left its lock.
  if (names.some(isTemporary)) written.add(CONFIG)
  const isWritten = (name: string): boolean => WEIGHTS.test(finalName(name)) || written.has(finalName(name))
  return names.length === 0 || (isExport && names.every(isWritten))
}

/** Weights of an earlier export. */
async function weightFilesIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => [])
  return names.filter(name => WEIGHTS.test(name))
}

/** @throws FILE_IS_SOURCE if a file that is read would be replaced */
async function requireOtherFolder(folder: string, sources: readonly string[]): Promise<void> {
  const target = await realpath(folder).catch(() => undefined)
  for (const source of sources) {
    if (target !== (await realpath(source))) continue
    throw new PenstockError('FILE_IS_SOURCE', 'the output folder contains the source: choose another folder', {
      file: folder,
    })
  }
}

/** The tokenizer of a checkpoint; one outside of it only if it is unchanged since training. @throws FILE_UNREADABLE */
async function tokenizerOf(checkpoint: Checkpoint): Promise<string | undefined> {
  const path = tokenizerPathOf(checkpoint)
  if (path === undefined) return undefined
  const found = await tokenizerReference(path).catch((error: PenstockError) => {
    if (error.code === 'FILE_UNREADABLE') throw error
    return undefined
  })
  return found !== undefined && found.sha256 === checkpoint.state.tokenizer?.sha256 ? found.path : undefined
}

/** Loads the tokenizer at a path to validate it. @throws the errors of loading a tokenizer */
function validatedTokenizer(path: string): Promise<TokenizerReference> {
  return askTokenizer(path, ({ path, sha256 }) => ({ path: resolve(path), sha256 }))
}

/**
 * Writes a checkpoint at step 0, without training data, to generate from. The tokenizer defaults to that of the folder.
 * @returns a line that describes the output
 */
export async function convertBack(from: string, folder: string, tokenizerPath: string | undefined): Promise<string> {
  const { model, weights, eos, close } = await openHuggingFace(from)
  // Without moments: those of an untrained optimizer are 0.
  const saveState = async (into: string) => {
    await writeTensors(join(into, modelFile), weights, { format: 'pt' })
    return [modelFile]
  }
  try {
    const tokenizer = tokenizerPath === undefined ? await tokenizerIn(from) : undefined
    const state = {
      ...(await untrainedState(model, tokenizerPath)),
      ...(tokenizer && { tokenizer }),
      ...(eos !== undefined && { endOfDocumentId: eos }),
    }
    const path = await saveCheckpoint(folder, null, { isPrimary: true, saveState }, { ...state, model })
    return `${path}: ${count(weights.size)} tensors`
  } finally {
    await close()
  }
}

async function tokenizerIn(folder: string): Promise<TokenizerReference | undefined> {
  return tokenizerReference(resolve(folder)).catch((error: PenstockError) => {
    if (error.code === 'FILE_MISSING') return undefined
    throw error
  })
}

/** State of a checkpoint at step 0, without training data. */
export async function untrainedState(model: ModelOptions, tokenizerPath: string | undefined) {
  const tokenizer = tokenizerPath === undefined ? undefined : await validatedTokenizer(tokenizerPath)
  const cursor = { version: 1, globalSamples: 0, seed: 0, sampleCount: 0, dataBytes: 0, tokenBytes: 0 } as const
  return {
    step: 0,
    totalSteps: 0,
    consumedTokens: 0,
    cursor: { ...cursor, sequenceLength: model.sequence_length },
    training: parseTraining({ model }),
    ...(tokenizer && { tokenizer }),
  }
}
