/**
 * YAML text -> document nodes, for definitions and Modalities' configurations. The text is untrusted: its size, depth and
 * number of values are bounded before parsing, and duplicate keys are rejected.
 */

import { type Document, isScalar, LineCounter, type Node, type ParsedNode, parseDocument, visit } from 'yaml'
import { PenstockError, toPenstockError } from '../errors.js'
import { count, quantity } from '../formats/message-words.js'

const MAX_CHARACTERS = 1 << 20
export const MAX_DEPTH = 64
/** Also bounds the expansion of aliases and interpolations: nine lines could expand to a billion nodes. */
export const MAX_NODES = 20_000

export interface YamlDocument {
  readonly document: Document.Parsed<ParsedNode>
  /** Line and column of a node, 1-based; the start of the text if the argument is not a node. */
  readonly placeOf: (node: unknown) => { line: number; column: number }
}

/**
 * @param schema types of scalars: those of the YAML 1.2 core schema, or strings only
 * @throws CONFIG_INVALID with line and column
 */
export function parseYamlDocument(text: string, file: string, schema: 'core' | 'failsafe'): YamlDocument {
  if (text.length > MAX_CHARACTERS) {
    const message = `too long: ${quantity(text.length, 'character')}, at most ${count(MAX_CHARACTERS)} are allowed`
    throw new PenstockError('CONFIG_INVALID', message, { file })
  }
  rejectOversized(text, file)
  const lineCounter = new LineCounter()
  const placeAt = (offset: number) => {
    const { line, col } = lineCounter.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  let document: Document.Parsed<ParsedNode>
  try {
    // `uniqueKeys` is off because the package compares all pairs of keys, which can take minutes; checked below instead.
    const options = { uniqueKeys: false, prettyErrors: false, merge: false, stringKeys: schema === 'core' }
    document = parseDocument(text, { ...options, schema, lineCounter })
  } catch (error) {
    throw toPenstockError(error, 'CONFIG_INVALID', { file })
  }
  const problem = document.errors[0] ?? document.warnings[0]
  if (problem !== undefined) {
    throw new PenstockError('CONFIG_INVALID', problem.message, { file, ...placeAt(problem.pos[0]) })
  }
  const placeOf = (node: unknown) => placeAt((node as Node | null)?.range?.[0] ?? 0)
  rejectDuplicateKeys(document, key => ({ file, ...placeOf(key) }))
  return { document, placeOf }
}

/** Rejects text that would occupy the parser for seconds or overflow its stack. */
function rejectOversized(text: string, file: string): void {
  let depth = 0
  let line = 1
  let separators = 0
  const reject = (message: string): never => {
    throw new PenstockError('CONFIG_INVALID', message, { file, line })
  }
  for (const char of text) {
    if (char === '\n') line++
    if (char === '[' || char === '{') depth++
    else if (char === ']' || char === '}') depth = Math.max(0, depth - 1)
    else if (char === ',' || char === ':' || char === '\n') separators++
    if (depth > MAX_DEPTH) reject(`brackets nested deeper than ${MAX_DEPTH}`)
    if (separators > 2 * MAX_NODES) reject(`more than ${MAX_NODES} values`)
  }
  if (/^ {400}|^ *(?:[-?] ){64}/m.test(text)) {
    throw new PenstockError('CONFIG_INVALID', `nested deeper than ${MAX_DEPTH}`, { file })
  }
}

function rejectDuplicateKeys(
  document: Document.Parsed<ParsedNode>,
  whereOf: (key: unknown) => { file: string; line: number; column: number },
): void {
  visit(document, {
    Map(_, map) {
      const seen = new Set<unknown>()
      for (const { key } of map.items) {
        const name = isScalar(key) ? key.value : undefined
        if (name === undefined || name === '<<') continue
        if (seen.has(name)) throw new PenstockError('CONFIG_INVALID', `duplicate key ${String(name)}`, whereOf(key))
        seen.add(name)
      }
    },
  })
}
