/**
 * The changes that the Rust library's normalizer records for a Unicode form, derived from String.normalize of single
 * characters and pairs. Slow: needed only for the start of a document.
 */
import { contains, unassignedInUnicode9 } from '../patterns/unicode.js'
import { formStep, normalizeText, type UnicodeForm } from './normalize.js'

type Change = [character: string, change: number]

/** Characters after the first ones that may still interact with them. */
const CONTEXT = 64

/** Changes of at least the first `units` code units of the text. */
export function composedChanges(text: string, units: number, form: UnicodeForm): Change[] {
  const decomposed = decomposedChanges(text.slice(0, units + CONTEXT), form.includes('K') ? 'NFKD' : 'NFD')
  return form.endsWith('D') ? decomposed : recompose(decomposed)
}

const normalize = (text: string, form: UnicodeForm): string => normalizeText(text, [formStep(form)])

function isOld(character: string): boolean {
  return !contains(unassignedInUnicode9(), character.codePointAt(0)!)
}

/** Whether canonical ordering puts `second` before `first`: its combining class is lower and not 0. */
function isSwapped(first: string, second: string): boolean {
  return isOld(first) && isOld(second) && normalize(first + second, 'NFD') === second + first && first !== second
}

/** Whether the combining class is not 0. */
function isCombining(character: string): boolean {
  return isSwapped(character, '\u0334') || isSwapped('\u0301', character)
}

function decomposedChanges(text: string, form: 'NFD' | 'NFKD'): Change[] {
  const changes: Change[] = []
  let start = 0
  for (const character of text) {
    for (const [at, part] of [...normalize(character, form)].entries()) {
      if (!isCombining(part)) start = changes.length
      let place = changes.length
      while (place > start && isSwapped(changes[place - 1]![0], part)) place--
      changes.splice(place, 0, [part, at > 0 ? 1 : 0])
      if (!isCombining(part)) start = changes.length
    }
  }
  return changes
}

function recompose(decomposed: readonly Change[]): Change[] {
  const changes: Change[] = []
  let base: Change | undefined
  let marks: Change[] = []
  for (const [character, change] of decomposed) {
    const isMark = isCombining(character)
    if (base === undefined) {
      if (isMark) changes.push([character, change])
      else base = [character, change]
      continue
    }
    const last = marks.at(-1)
    const isBlocked = last !== undefined && (!isMark || !isLower(last[0], character))
    const composed: string | undefined = isBlocked ? undefined : composition(base[0], character)
    if (composed !== undefined) base = [composed, base[1] + change - 1]
    else if (isMark) marks.push([character, change])
    else {
      changes.push(base, ...marks)
      base = [character, change]
      marks = []
    }
  }
  if (base !== undefined) changes.push(base, ...marks)
  return changes
}

/** Whether the combining class of the first is lower; both are not 0. */
const isLower = (first: string, second: string): boolean => isSwapped(second, first)

/** The character that two compose to. */
function composition(first: string, second: string): string | undefined {
  if (!isOld(first) || !isOld(second)) return undefined
  const composed = normalize(first + second, 'NFC')
  return [...composed].length === 1 ? composed : undefined
}
