/** Commands for the shells of schedulers, and programs that this process runs. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { PenstockError } from '../../errors.js'

const run = promisify(execFile)

/** One word of a shell command. */
export const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

export const shellCommand = (words: readonly string[]): string => words.map(quoted).join(' ')

/**
 * Runs a program of a scheduler and returns its output.
 * @throws PEER_MISSING when it is not installed; ENGINE_FAILED with its message
 */
export async function runProgram(program: string, args: readonly string[]): Promise<string> {
  try {
    return (await run(program, [...args], { encoding: 'utf8' })).stdout
  } catch (error) {
    const { code, stderr, message } = error as NodeJS.ErrnoException & { readonly stderr?: string }
    if (code === 'ENOENT') {
      throw new PenstockError(
        'PEER_MISSING',
        `${program} is not installed on this machine: run the command on a login node`,
      )
    }
    throw new PenstockError('ENGINE_FAILED', `${program}: ${(stderr || message).trim()}`, {}, error)
  }
}
