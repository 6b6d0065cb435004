/**
 * Numbers as jq 1.7 and later keep them: a literal keeps its decimal digits until it takes part in arithmetic. Only literals
 * that a double would print differently, such as 19-digit integers and `1.0`, are `NumberLiteral`s; all others are numbers.
 */
import { numberText } from './number-text.js'

export class NumberLiteral {
  /** In jq's notation. */
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  valueOf(): number {
    const value = Number(this.text)
    return Number.isFinite(value) ? value : Math.sign(value) * Number.MAX_VALUE
  }
}

/** The value of a number or a literal as a double; undefined for other values. */
export function doubleOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value
  return value instanceof NumberLiteral ? value.valueOf() : undefined
}

/** Reads a number as written in JSON. */
export function literalOf(source: string): number | NumberLiteral {
  if (source.length <= 15 && /^-?[1-9]\d*$/.test(source)) return Number(source)
  const text = canonical(source)
  const value = Number(source)
  return Number.isFinite(value) && numberText(value) === text ? value : new NumberLiteral(text)
}

/** Negates or, with `sign` '', removes the sign of a literal. */
export function withSign({ text }: NumberLiteral, sign: '-' | ''): number | NumberLiteral {
  return literalOf(sign + text.replace('-', ''))
}

export const isNegative = ({ text }: NumberLiteral): boolean => text.startsWith('-')

/** Compares all digits of two literals: negative, zero or positive. */
export function compareLiterals(left: NumberLiteral, right: NumberLiteral): number {
  const [a, b] = [decimal(left.text), decimal(right.text)]
  const [signA, signB] = [a.digits === '' ? 0 : a.sign, b.digits === '' ? 0 : b.sign]
  if (signA !== signB || signA === 0) return signA - signB
  const order = a.digits.length + a.exponent - (b.digits.length + b.exponent)
  if (order !== 0) return order * signA
  const width = Math.max(a.digits.length, b.digits.length)
  const [digitsA, digitsB] = [a.digits.padEnd(width, '0'), b.digits.padEnd(width, '0')]
  return digitsA === digitsB ? 0 : digitsA < digitsB ? -signA : signA
}

interface Decimal {
  readonly sign: 1 | -1
  /** Without leading zeros. */
  readonly digits: string
  readonly exponent: number
}

function decimal(source: string): Decimal {
  const [, minus, whole = '', fraction = '', exponent = '0'] = /^(-?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?$/.exec(source)!
  const digits = (whole + fraction).replace(/^0+/, '')
  return { sign: minus === '-' ? -1 : 1, digits, exponent: Number(exponent) - fraction.length }
}

/** Scientific notation of the General Decimal Arithmetic Specification: trailing zeros are kept. */
function canonical(source: string): string {
  const { sign, digits: significant, exponent } = decimal(source)
  const digits = significant === '' ? '0' : significant
  const minus = sign < 0 ? '-' : ''
  const adjusted = exponent + digits.length - 1
  if (exponent <= 0 && adjusted >= -6) {
    if (exponent === 0) return minus + digits
    const padded = digits.padStart(1 - exponent, '0')
    return `${minus}${padded.slice(0, exponent)}.${padded.slice(exponent)}`
  }
  const fraction = digits.length > 1 ? `.${digits.slice(1)}` : ''
  return `${minus}${digits[0]}${fraction}E${adjusted < 0 ? '-' : '+'}${Math.abs(adjusted)}`
}

/** Marks literals in a text for `JSON.parse`; no text contains it by chance. */
const MARKER = `\\u0000number ${Math.random().toString(36).slice(2)} `
const PARSED_MARKER = JSON.parse(`"${MARKER}"`) as string

/** Parses JSON that is known to be valid, with `NumberLiteral`s where a double would lose digits. */
export function parseJson(text: string): unknown {
  const parts: string[] = []
  let copied = 0
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at)
    if (code === 0x22) {
      at = endOfString(text, at)
    } else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      const end = endOfNumber(text, at)
      const literal = literalOf(text.slice(at, end))
      if (literal instanceof NumberLiteral) {
        parts.push(text.slice(copied, at), `"${MARKER}${literal.text}"`)
        copied = end
      }
      at = end
    } else at++
  }
  if (parts.length === 0) return JSON.parse(text)
  return JSON.parse(parts.join('') + text.slice(copied), (_key, value) =>
    typeof value === 'string' && value.startsWith(PARSED_MARKER)
      ? new NumberLiteral(value.slice(PARSED_MARKER.length))
      : value,
  )
}

function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let backslashes = 0
    while (text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes++
    if (backslashes % 2 === 0) return end + 1
  }
}

function endOfNumber(text: string, start: number): number {
  let end = start + 1
  while (/[\d.eE+-]/.test(text.charAt(end))) end++
  return end
}
