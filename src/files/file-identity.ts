/** Compares files by identity, so that an output cannot overwrite an input under another name. */
import { readlinkSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { PenstockError } from '../errors.js'
import { MAX_LINKS, sideFilesOf } from './side-files.js'

/**
 * Device and inode of a file, so that two paths to one file compare equal. For a file that does not exist, its name and the
 * identity of its folder, or those of the target of a dangling link.
 */
export function fileIdentity(file: string): string {
  return identityOf(resolve(file), MAX_LINKS)
}

function identityOf(path: string, links: number): string {
  try {
    const { dev, ino } = statSync(path)
    return `${dev}:${ino}`
  } catch {
    const folder = dirname(path)
    const target = links > 0 ? linkTargetOf(path) : undefined
    if (target !== undefined) return identityOf(resolve(folder, target), links - 1)
    return folder === path ? path : join(identityOf(folder, links), basename(path))
  }
}

function linkTargetOf(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

/** Files that a tokenizer may consist of, for a path to its main file or its folder. */
export function tokenizerFilesAt(path: string): string[] {
  const folder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true ? path : dirname(path)
  return [path, ...TOKENIZER_FILES.map(name => join(folder, name))]
}
const TOKENIZER_FILES = [
  ...['tokenizer.json', 'tokenizer.model', 'tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'],
  ...['vocab.json', 'vocab.txt', 'merges.txt', 'generation_config.json', 'chat_template.jinja'],
]

/** Whether an output path leads into a saved checkpoint, `step-000100`, whose files are never changed. */
export function isInCheckpoint(path: string): boolean {
  return /^step-\d{6,}$/.test(basename(dirname(resolve(path))))
}

/**
 * Rejects outputs that are inputs, and outputs whose temporary files would be.
 * @throws FILE_IS_SOURCE
 */
export function refuseInputs(outputs: readonly string[], inputs: readonly string[]): void {
  const read = new Set(inputs.map(fileIdentity))
  for (const output of outputs) {
    const taken = [output, ...sideFilesOf(output)].find(file => read.has(fileIdentity(file)))
    if (taken === undefined) continue
    const message =
      taken === output ? 'this output is an input' : `a temporary file of this output, ${taken}, is an input`
    throw new PenstockError('FILE_IS_SOURCE', `${message}: choose another name`, { file: output })
  }
}
