/** Verifies files and prints one line per file and per finding. */
import { resolve } from 'node:path'
import type { SizedFile } from '../../cluster/divide-sources.js'
import { PenstockError } from '../../errors.js'
import { absoluteSource } from '../../files/source-list.js'
import { isSound, type Verdict } from '../../integrity/findings.js'
import { type VerifyOptions, verifiableFiles, verifyPath } from '../../integrity/verify.js'
import { printOutput } from '../output/print.js'
import { quantity } from '../output/terminal.js'

/** Sets exit code 1 if anything is damaged. @throws FILE_MISSING, ARGUMENT_INVALID */
export async function printVerdicts(paths: readonly string[], options: VerifyOptions, json: boolean): Promise<void> {
  let checked = 0
  for (const path of paths) {
    for await (const verdict of verifyPath(path, options)) {
      checked++
      printOutput(json ? `${JSON.stringify(asJson(verdict))}\n` : asText(verdict))
      if (!isSound(verdict)) process.exitCode = 1
    }
  }
  if (checked === 0) {
    throw nothingFound(paths)
  }
}

/** Damages of a file or checkpoint, for a shard. @throws FILE_MISSING, ARGUMENT_INVALID */
export async function damagesOf(path: string, options: VerifyOptions): Promise<PenstockError[]> {
  const damages: PenstockError[] = []
  for await (const { path: file, findings } of verifyPath(path, options)) {
    for (const { level, error } of findings) {
      if (level === 'damaged')
        damages.push(new PenstockError('FILE_DAMAGED', error.message, { file, ...error.where }, error))
    }
  }
  return damages
}

/** Divides the files into shards, which `penstock shards run` verifies. @throws FILE_MISSING, ARGUMENT_INVALID, FILE_EXISTS */
export async function planVerification(
  paths: readonly string[],
  options: VerifyOptions,
  shards: number,
  shardFolder: string | undefined,
): Promise<void> {
  if (shardFolder === undefined) {
    throw new PenstockError('ARGUMENT_INVALID', '--shards needs --shard-folder FOLDER for the plan and the results')
  }
  const files: SizedFile[] = []
  for (const path of paths) {
    for await (const found of verifiableFiles(path)) files.push({ path: resolve(found.path), bytes: found.bytes })
  }
  if (files.length === 0) throw nothingFound(paths)
  const { planFiles } = await import('../../cluster/plan-files.js')
  const { publishPlan } = await import('./cluster/plan-shards.js')
  const { source, tokenizer, ...others } = options
  const located = {
    ...(source && { source: resolve(source) }),
    ...(tokenizer && { tokenizer: absoluteSource(tokenizer) }),
  }
  await publishPlan(shardFolder, planFiles('verify', { ...others, ...located }, files, shards))
}

const nothingFound = (paths: readonly string[]): PenstockError =>
  new PenstockError('FILE_MISSING', 'no index, packed file, packed rows or checkpoint found', {
    file: paths.join(', '),
  })

/** `documentParts`: document part. */
const nounOf = (count: string): string =>
  count.replace(/s$/, '').replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)

function asText(verdict: Verdict): string {
  const { path, kind, findings } = verdict
  const counts = Object.entries(verdict.counts).map(([name, value]) => quantity(value, nounOf(name)))
  const head = `${isSound(verdict) ? 'sound' : 'DAMAGED'}  ${path}: ${[kind, ...counts].join(', ')}`
  const lines = findings.map(({ level, error }) => `  ${level}: ${error.toLine()}`)
  return `${[head, ...lines].join('\n')}\n`
}

function asJson(verdict: Verdict): object {
  return {
    ...verdict,
    sound: isSound(verdict),
    findings: verdict.findings.map(({ level, error: { code, message, where } }) => ({ level, code, message, where })),
  }
}
