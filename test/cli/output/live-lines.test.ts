import { afterEach, expect, it, vi } from 'vitest'
import { keepLiveLines, printStatus, setLiveLines } from '#src/cli/output/print'

/** What a terminal shows after the texts: line feeds, carriage returns, moves up, and clearing to the end. */
function screenAfter(texts: readonly string[]): string[] {
  const lines = ['']
  let [row, column] = [0, 0]
  for (const [token] of texts.join('').matchAll(/\p{Cc}\[(\d*)[AJ]|[\s\S]/gu)) {
    const up = /^\p{Cc}\[(\d+)A$/u.exec(token)
    if (up) row -= Number(up[1])
    else if (token === '\x1b[J') {
      lines.length = row + 1
      lines[row] = lines[row]!.slice(0, column)
    } else if (token === '\r') column = 0
    else if (token === '\n') {
      row++
      column = 0
      lines[row] ??= ''
    } else {
      const line = lines[row]!.padEnd(column)
      lines[row] = line.slice(0, column) + token + line.slice(column + 1)
      column++
    }
  }
  return lines
}

function captured(): string[] {
  const texts: string[] = []
  vi.spyOn(process.stderr, 'write').mockImplementation(text => texts.push(String(text)) > 0)
  return texts
}

afterEach(() => {
  keepLiveLines()
  vi.restoreAllMocks()
})

it('keeps live lines below other lines, and removes the ^C of a terminal', () => {
  const texts = captured()
  setLiveLines(['train  0:01', '  feed-trainer'])
  // The terminal shows the key at the cursor.
  texts.push('^C')
  printStatus('\npenstock: stopping\n')
  setLiveLines(['train  0:02', '  feed-trainer', '  another'])
  printStatus('  saved c/step-1\n')
  expect(screenAfter(texts)).toEqual([
    'penstock: stopping',
    '  saved c/step-1',
    'train  0:02',
    '  feed-trainer',
    '  another',
    '',
  ])
  setLiveLines([])
  expect(screenAfter(texts)).toEqual(['penstock: stopping', '  saved c/step-1', ''])
})

it('leaves the last live lines of a failed run above its error', () => {
  const texts = captured()
  setLiveLines(['train  0:01'])
  keepLiveLines()
  printStatus('penstock: failed\n')
  expect(screenAfter(texts)).toEqual(['train  0:01', 'penstock: failed', ''])
})
