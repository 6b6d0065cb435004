/**
 * JSON as Python's `json.loads` and `json.dumps(ensure_ascii=False)` read and write it. Preserves key order, integers of
 * any size and the difference between 1 and 1.0, which JavaScript's values do not.
 */
import { PenstockError } from '../../errors.js'
import { pythonText } from './interpolate.js'

/** A number in its original spelling. */
export class JsonNumber {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  get value(): number {
    return Number(this.text)
  }
}

export type PythonJson = null | boolean | string | JsonNumber | PythonJson[] | Map<string, PythonJson>

const TOKEN = /[\t\n\r ]*(?:([{}[\],:])|("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(true|false|null))/y
const MAX_DEPTH = 500

/** @throws JSON_INVALID */
export function parsePythonJson(text: string): PythonJson {
  // JSON.parse validates the text, so the code below can assume valid JSON.
  try {
    JSON.parse(text)
  } catch (error) {
    throw new PenstockError('JSON_INVALID', (error as Error).message, {}, error)
  }
  let at = 0
  const next = (): RegExpExecArray => {
    TOKEN.lastIndex = at
    const token = TOKEN.exec(text)!
    at = TOKEN.lastIndex
    return token
  }

  function value([, mark, string, number, word]: RegExpExecArray, depth: number): PythonJson {
    if (depth > MAX_DEPTH) throw new PenstockError('JSON_INVALID', `nested deeper than ${MAX_DEPTH}`)
    if (string !== undefined) return JSON.parse(string) as string
    if (number !== undefined) return new JsonNumber(number)
    if (word !== undefined) return word === 'null' ? null : word === 'true'
    return mark === '[' ? list(depth) : map(depth)
  }

  function list(depth: number): PythonJson[] {
    const items: PythonJson[] = []
    for (let token = next(); token[1] !== ']'; token = next()) {
      if (token[1] !== ',') items.push(value(token, depth + 1))
    }
    return items
  }

  function map(depth: number): Map<string, PythonJson> {
    const entries = new Map<string, PythonJson>()
    for (let token = next(); token[1] !== '}'; token = next()) {
      if (token[1] === ',') continue
      next()
      entries.set(JSON.parse(token[2]!) as string, value(next(), depth + 1))
    }
    return entries
  }

  return value(next(), 0)
}

/** Formats a value like `json.dumps(value, ensure_ascii=False)`. */
export function pythonJson(value: PythonJson): string {
  if (value instanceof Map) {
    return `{${[...value].map(([key, item]) => `${JSON.stringify(key)}: ${pythonJson(item)}`).join(', ')}}`
  }
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(', ')}]`
  return value instanceof JsonNumber ? numberText(value) : JSON.stringify(value)
}

function numberText({ text, value }: JsonNumber): string {
  if (!/[.eE]/.test(text)) return text === '-0' ? '0' : text
  if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity'
  return pythonText({ kind: 'scalar', type: 'float', value, place: NOWHERE })
}

const NOWHERE = { line: 1, column: 1 }
