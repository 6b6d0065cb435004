/**
 * The only place where the command line writes to the terminal. Names of files and texts from them are untrusted: control
 * characters, which could move the cursor or fake other output, are escaped.
 */
import { escapeControls } from '../../errors.js'

/** Lines at the end of the terminal that change in place, as they were drawn. */
let live = ''

/** Results, on standard output. */
export function printOutput(text: string): void {
  const drawn = live
  setLiveLines([])
  process.stdout.write(escapeLines(text))
  if (drawn !== '') process.stderr.write(drawn)
  live = drawn
}

/** Progress, notes and errors, on standard error, above the live lines. */
export function printStatus(text: string): void {
  // A line feed at the start leaves the ^C of the terminal alone, which the live lines replace.
  process.stderr.write(live === '' ? escapeLines(text) : `${erasure()}${escapeLines(text.replace(/^\n/, ''))}${live}`)
}

/** Text that a model generated: unchanged in a pipe or file. */
export function printGenerated(text: string): void {
  process.stdout.write(process.stdout.isTTY ? escapeLines(text) : text)
}

/** Draws lines on standard error that stay below everything printed later, and replaces the previous ones. */
export function setLiveLines(lines: readonly string[]): void {
  const drawn = escapeLines(lines.map(line => `${line}\n`).join(''))
  if (live !== '' || drawn !== '') process.stderr.write(erasure() + drawn)
  live = drawn
}

/** Leaves the live lines as they are: everything printed later is below them. */
export function keepLiveLines(): void {
  live = ''
}

/** Moves the cursor to the start of the live lines, also behind a ^C, and clears the rest of the terminal. */
function erasure(): string {
  const lines = live.split('\n').length - 1
  return lines > 0 ? `\r\x1b[${lines}A\x1b[J` : ''
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
