/**
 * The only place where the command line writes to the terminal. Names of files and texts from them are untrusted: control
 * characters, which could move the cursor or fake other output, are escaped.
 */
import { escapeControls } from '../../errors.js'

/** Results, on standard output. */
export function printOutput(text: string): void {
  process.stdout.write(escapeLines(text))
}

/** Progress, notes and errors, on standard error. */
export function printStatus(text: string): void {
  process.stderr.write(escapeLines(text))
}

/** Text that a model generated: unchanged in a pipe or file. */
export function printGenerated(text: string): void {
  process.stdout.write(process.stdout.isTTY ? escapeLines(text) : text)
}

/** Removes the last `drawn` lines of a terminal and prints others in their place, on standard error. */
export function redrawLines(drawn: number, lines: readonly string[]): void {
  const up = drawn > 0 ? `\x1b[${drawn}A\x1b[J` : ''
  process.stderr.write(up + escapeLines(lines.map(line => `${line}\n`).join('')))
}

/** Keeps line feeds and tabs. */
const escapeLines = (text: string): string => text.replaceAll(/[^\n\t]+/g, escapeControls)

/**
 * Failing writes must not end the process with an exception. A reader such as `head` may close the pipe early, which is not
 * an error; a result that cannot be written is one. Messages that cannot be written do not change the result of a command.
 */
export function handleWriteErrors(onOutputError: (error: NodeJS.ErrnoException) => void): void {
  process.stderr.on('error', () => {})
  process.stdout.on('error', onOutputError)
}
