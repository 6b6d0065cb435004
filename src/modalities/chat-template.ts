/**
 * Chat templates in Jinja. The optional package @huggingface/jinja parses them and trims blocks as Modalities does; they
 * are evaluated here, because that package prints values as JavaScript does.
 */
import { createRequire } from 'node:module'
import { PenstockError } from '../errors.js'
import { WholeFloat } from './components/option-types.js'
import { rejectChainedComparisons, type Token } from './jinja/chained-comparisons.js'
import { checkTemplate, type Node, render } from './jinja/evaluate.js'
import { unsupported, type Value } from './jinja/values.js'
import { JsonNumber, type PythonJson } from './yaml/python-json.js'

interface Jinja {
  readonly tokenize: (source: string, options: { lstrip_blocks: boolean; trim_blocks: boolean }) => readonly Token[]
  readonly parse: (tokens: readonly Token[]) => Node
}

/** @throws TemplateError for an error of the template; UNSUPPORTED */
export type ChatTemplate = (messages: PythonJson, data: Readonly<Record<string, unknown>>) => string

/** @throws PEER_MISSING without the package; CONFIG_INVALID for a template with a syntax error; UNSUPPORTED */
export function compileChatTemplate(source: string): ChatTemplate {
  let jinja: Jinja
  try {
    jinja = createRequire(import.meta.url)('@huggingface/jinja') as Jinja
  } catch (error) {
    throw new PenstockError('PEER_MISSING', 'chat templates need npm install @huggingface/jinja', {}, error)
  }
  // YAML block scalars insert newlines between template blocks; they are not part of the template.
  const joined = source.replaceAll('}\n{', '}{').replaceAll(/\r\n?/g, '\n')
  // The parser drops these tags, which only a tag of transformers defines.
  if (/\{%[-+]?\s*(?:end)?generation\b/.test(joined)) throw unsupported('the tag generation')
  const program = parse(jinja, joined)
  checkTemplate(program)
  return (messages, data) =>
    render(
      program,
      new Map([
        ['messages', fromJson(messages)],
        ['chat_template_data', fromConfig(data)],
      ]),
    )
}

/** Syntax of Jinja2 that the parser does not know. */
const PARSER_GAPS = [
  {
    pattern: /\{%[-+]?\s*(?:raw|do|with|include|import|from|extends|block|autoescape)\b/,
    what: 'a tag such as raw or do',
  },
  { pattern: /\{[%{#]\+/, what: 'the marker +' },
  {
    pattern: /\bis\s+(?:not\s+)?\w+\s*(?:\(|['"\d[{]|(?!and\b|or\b|else\b|if\b|is\b|in\b)\w)/,
    what: 'a test with an argument',
  },
  { pattern: /\d[eE][-+]?\d/, what: 'a number with an exponent' },
  { pattern: /,\s*\)/, what: 'a comma before a closing bracket' },
]

function parse({ tokenize, parse }: Jinja, source: string): Node {
  try {
    const tokens = tokenize(source, { lstrip_blocks: true, trim_blocks: true })
    rejectChainedComparisons(tokens)
    return parse(tokens)
  } catch (error) {
    if (error instanceof PenstockError) throw error
    const gap = PARSER_GAPS.find(({ pattern }) => pattern.test(source))
    if (gap !== undefined) throw unsupported(gap.what)
    const message = `jinja2_chat_template is not a valid template: ${(error as Error).message}`
    throw new PenstockError('CONFIG_INVALID', message, { path: 'jinja2_chat_template' }, error)
  }
}

/** JSON as `json.loads` reads it: integers of any size stay integers, and 2.0 is a float. */
function fromJson(value: PythonJson): Value {
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, fromJson(item)]))
  if (Array.isArray(value)) return value.map(fromJson)
  if (!(value instanceof JsonNumber)) return value
  return /[.eE]/.test(value.text) ? value.value : BigInt(value.text)
}

function fromConfig(value: unknown): Value {
  if (value instanceof WholeFloat) return value.value
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
  if (Array.isArray(value)) return value.map(fromConfig)
  if (typeof value !== 'object' || value === null) return value as Value
  return new Map(Object.entries(value).map(([key, item]) => [key, fromConfig(item)]))
}
