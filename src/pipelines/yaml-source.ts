/**
 * YAML text -> plain values, with the line and column of every node for messages. Definitions are untrusted: size,
 * depth and aliases are bounded, tags and merge keys are not resolved, and no key touches a prototype.
 */
import { isMap, isNode, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { PenstockError } from '../errors.js'

const MAX_BYTES = 1 << 20
const MAX_DEPTH = 64
const MAX_ALIASES = 100

export type YamlPath = readonly (string | number)[]

export interface YamlSource {
  readonly file: string
  readonly value: unknown
  /** Line and column, from 1, of the node at a path, or of the nearest one around it; `ofKey` means the key itself. */
  placeOf(path: YamlPath, ofKey?: boolean): { line: number; column: number }
}

/** @throws CONFIG_INVALID with line and column */
export function parseYaml(text: string, file: string): YamlSource {
  if (text.length > MAX_BYTES) {
    throw new PenstockError('CONFIG_INVALID', `larger than ${MAX_BYTES} bytes: not a definition`, { file })
  }
  checkDepth(text, file)
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, merge: false, uniqueKeys: true, stringKeys: true })
  const error = document.errors[0]
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0])
    const message = error.message.split(/ at line \d+/)[0]!
    throw new PenstockError('CONFIG_INVALID', message, { file, line, column: col }, error)
  }
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (cause) {
    throw new PenstockError('CONFIG_INVALID', (cause as Error).message, { file }, cause)
  }
  const root = document.contents
  return {
    file,
    value,
    placeOf: (path, ofKey = false) => {
      const { line, col } = lines.linePos(offsetOf(root, path, ofKey))
      return { line: Math.max(line, 1), column: Math.max(col, 1) }
    },
  }
}

/** Nesting that could exhaust the parser's stack is refused before it is parsed. */
function checkDepth(text: string, file: string): void {
  let depth = 0
  let line = 1
  for (const character of text) {
    if (character === '\n') line++
    else if (character === '[' || character === '{') depth++
    else if (character === ']' || character === '}') depth = Math.max(0, depth - 1)
    if (depth > MAX_DEPTH) throw new PenstockError('CONFIG_INVALID', `nested deeper than ${MAX_DEPTH}`, { file, line })
  }
  const indented = /^ {400}|^(?:- ){64}/m.exec(text)
  if (indented !== null) throw new PenstockError('CONFIG_INVALID', `nested deeper than ${MAX_DEPTH}`, { file })
}

function offsetOf(root: Node | null, path: YamlPath, ofKey: boolean): number {
  let node: unknown = root
  let offset = root?.range?.[0] ?? 0
  for (const [depth, key] of path.entries()) {
    let next: unknown
    if (isSeq(node)) {
      next = node.items[Number(key)]
    } else if (isMap(node)) {
      const pair = node.items.find(item => isPair(item) && isScalar(item.key) && item.key.value === key)
      if (isPair(pair) && isNode(pair.key)) offset = pair.key.range?.[0] ?? offset
      if (ofKey && depth === path.length - 1) return offset
      next = pair?.value
    }
    if (!isNode(next)) return offset
    if (next.range) offset = next.range[0]
    node = next
  }
  return offset
}
