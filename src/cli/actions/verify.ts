/** Verifies files and prints one line per file and per finding. */
import { PenstockError } from '../../errors.js'
import { isSound, type Verdict } from '../../integrity/findings.js'
import { type VerifyOptions, verifyPath } from '../../integrity/verify.js'
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
    throw new PenstockError('FILE_MISSING', 'no index, packed file, packed rows or checkpoint found', {
      file: paths.join(', '),
    })
  }
}

function asText(verdict: Verdict): string {
  const { path, kind, findings } = verdict
  const counts = Object.entries(verdict.counts).map(([name, value]) => quantity(value, name.replace(/s$/, '')))
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
