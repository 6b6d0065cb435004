/**
 * YAML text -> the document of its nodes, for definitions and for the reference's configurations alike. The text is not
 * trusted: its size, depth and number of values are bounded before it is parsed, and repeated keys are refused.
 */
import { type Document, isScalar, LineCounter, type Node, type ParsedNode, parseDocument, visit } from 'yaml'
import { PenstockError, toPenstockError } from '../errors.js'

const MAX_CHARACTERS = 1 << 20
export const MAX_DEPTH = 64
/** Also of what aliases and interpolations multiply: nine lines could make a billion. */
export const MAX_NODES = 20_000

export interface YamlDocument {
  readonly document: Document.Parsed<ParsedNode>
  /** Line and column, from 1, of a node; the start of the text for what is none. */
  readonly placeOf: (node: unknown) => { line: number; column: number }
}

/**
 * @param schema which scalars there are: those of YAML 1.2, or none but texts
 * @throws CONFIG_INVALID with line and column
 */
export function parseYamlDocument(text: string, file: string, schema: 'core' | 'failsafe'): YamlDocument {
  if (text.length > MAX_CHARACTERS) {
    const message = `${text.length} characters, where at most ${MAX_CHARACTERS} are expected`
    throw new PenstockError('CONFIG_INVALID', message, { file })
  }
  refuseBulk(text, file)
  const lineCounter = new LineCounter()
  const placeAt = (offset: number) => {
    const { line, col } = lineCounter.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  let document: Document.Parsed<ParsedNode>
  try {
    // Repeated keys are found below: the package compares every key of a map with every other, which takes minutes.
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
  refuseRepeatedKeys(document, key => ({ file, ...placeOf(key) }))
  return { document, placeOf }
}

/** What would keep the parser busy for seconds, or exhaust its stack, shows before it is parsed. */
function refuseBulk(text: string, file: string): void {
  let depth = 0
  let line = 1
  let separators = 0
  const refuse = (message: string): never => {
    throw new PenstockError('CONFIG_INVALID', message, { file, line })
  }
  for (const char of text) {
    if (char === '\n') line++
    if (char === '[' || char === '{') depth++
    else if (char === ']' || char === '}') depth = Math.max(0, depth - 1)
    else if (char === ',' || char === ':' || char === '\n') separators++
    if (depth > MAX_DEPTH) refuse(`brackets nested deeper than ${MAX_DEPTH}`)
    if (separators > 2 * MAX_NODES) refuse(`more than ${MAX_NODES} values`)
  }
  if (/^ {400}|^ *(?:[-?] ){64}/m.test(text)) {
    throw new PenstockError('CONFIG_INVALID', `nested deeper than ${MAX_DEPTH}`, { file })
  }
}

function refuseRepeatedKeys(
  document: Document.Parsed<ParsedNode>,
  whereOf: (key: unknown) => { file: string; line: number; column: number },
): void {
  visit(document, {
    Map(_, map) {
      const seen = new Set<unknown>()
      for (const { key } of map.items) {
        const name = isScalar(key) ? key.value : undefined
        if (name === undefined || name === '<<') continue
        if (seen.has(name))
          throw new PenstockError('CONFIG_INVALID', `the key ${String(name)} a second time`, whereOf(key))
        seen.add(name)
      }
    },
  })
}
