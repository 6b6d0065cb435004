/** Splits of text by a pattern, with the behaviors of tokenizer files. Positions are code units. */
import type { Backtracker } from './backtrack.js'
import { type Dfa, MATCHES, START_STATE } from './dfa.js'
import type { SplitBehavior } from './pretokenize.js'
import type { CodePointTest } from './text-classes.js'

/** Half-open ranges that cover a text, alternating freely between matches and gaps. */
export interface Matches {
  readonly starts: number[]
  readonly ends: number[]
  readonly isMatch: boolean[]
}

export type FindMatches = (text: string) => Matches

const noMatches = (): Matches => ({ starts: [], ends: [], isMatch: [] })

function add(matches: Matches, start: number, end: number, isMatch: boolean): void {
  if (start < end) push(matches, start, end, isMatch)
}

function push(matches: Matches, start: number, end: number, isMatch: boolean): void {
  matches.starts.push(start)
  matches.ends.push(end)
  matches.isMatch.push(isMatch)
}

/** Leftmost, non-overlapping matches of an automaton. */
export function patternMatches(dfa: Dfa): FindMatches {
  return text => {
    const found = noMatches()
    let gap = 0
    for (let at = 0; at < text.length; ) {
      const end = matchEnd(dfa, text, at)
      if (end < 0) {
        at += text.codePointAt(at)! > 0xffff ? 2 : 1
        continue
      }
      add(found, gap, at, false)
      add(found, at, end, true)
      at = end
      gap = end
    }
    add(found, gap, text.length, false)
    return found
  }
}

/**
 * The same by backtracking. As in the library, a match of the empty text is dropped at the end of the previous match, and
 * else separates the characters around it.
 */
export function backtrackMatches({ matchEnd, reset }: Backtracker): FindMatches {
  return text => {
    const found = noMatches()
    let gap = 0
    let last = text === '' ? 0 : -1
    for (let at = 0; at <= text.length; ) {
      const end = matchEnd(text, at)
      if (end < 0 || (end === at && at === last)) {
        at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1
        continue
      }
      reset()
      add(found, gap, at, false)
      push(found, at, end, true)
      at = end
      gap = end
      last = end
    }
    reset()
    add(found, gap, text.length, false)
    return found
  }
}

/** End of the match that starts at `at`, or -1. */
function matchEnd({ classes, table }: Dfa, text: string, at: number): number {
  let state = START_STATE
  let matched = -1
  for (let next = at; ; ) {
    const codePoint = next < text.length ? text.codePointAt(next)! : -1
    const transition = table[state + (codePoint < 0 ? 0 : classes[codePoint]!)]!
    if ((transition & MATCHES) !== 0) matched = next
    state = transition & ~MATCHES
    if (state === 0) return matched
    next += codePoint > 0xffff ? 2 : 1
  }
}

export function literalMatches(literal: string): FindMatches {
  return text => {
    const found = noMatches()
    let gap = 0
    for (let at = text.indexOf(literal); at >= 0; at = text.indexOf(literal, gap)) {
      add(found, gap, at, false)
      gap = at + literal.length
      add(found, at, gap, true)
    }
    add(found, gap, text.length, false)
    return found
  }
}

/** Each character that passes the test is a match. */
export function characterMatches(test: CodePointTest): FindMatches {
  return text => {
    const found = noMatches()
    let gap = 0
    for (let at = 0; at < text.length; ) {
      const codePoint = text.codePointAt(at)!
      const end = at + (codePoint > 0xffff ? 2 : 1)
      if (test(codePoint)) {
        add(found, gap, at, false)
        add(found, at, end, true)
        gap = end
      }
      at = end
    }
    add(found, gap, text.length, false)
    return found
  }
}

/** Calls `emit` for each part of the text that the behavior keeps, in order. */
export function splitMatches(
  { starts, ends, isMatch }: Matches,
  behavior: SplitBehavior,
  isInverted: boolean,
  emit: (start: number, end: number) => void,
): void {
  const last = starts.length - 1
  const joinsPrevious = (at: number): boolean => {
    const [previous, current] = [isMatch[at - 1] !== isInverted, isMatch[at] !== isInverted]
    if (behavior === 'Contiguous') return previous === current
    if (behavior === 'MergedWithPrevious') return current && !previous
    return behavior === 'MergedWithNext' && previous && !current
  }
  for (let at = 0; at <= last; ) {
    const start = starts[at]!
    let next = at + 1
    while (next <= last && joinsPrevious(next)) next++
    if (behavior !== 'Removed' || isMatch[at] === isInverted) emit(start, ends[next - 1]!)
    at = next
  }
}
