/**
 * Writes a tree as YAML, byte for byte like PyYAML's `yaml.dump` with default options: block style, lines folded after
 * column 80, strings quoted where they would be parsed as another type. Modalities writes its resolved configurations
 * this way, and names the runs of a sweep by hashes of such text.
 */
import { pythonText } from './interpolate.js'
import { isPyYamlText, type ListNode, type MapNode, type ScalarNode, type TreeNode } from './yaml-tree.js'

export interface PythonYamlOptions {
  /** Like `sort_keys`; otherwise keys keep the order of the tree. */
  readonly sortKeys: boolean
}

export function pythonYaml(root: MapNode, options: PythonYamlOptions): string {
  return root.entries.size === 0 ? '{}\n' : mapText(root, 0, options)
}

const INDENT = 2
const BEST_WIDTH = 80

/** The entries of a mapping, one per line; the first line is not indented. */
function mapText({ entries }: MapNode, indent: number, options: PythonYamlOptions): string {
  const keys = options.sortKeys ? [...entries.keys()].sort() : [...entries.keys()]
  return keys
    .map(key => {
      const start = `${scalarText({ type: 'text', value: key }, indent, indent, 'key')}:`
      const value = entries.get(key)!
      // PyYAML does not indent a list below its key.
      const inner = value.kind === 'list' ? indent : indent + INDENT
      if (value.kind === 'scalar' || isEmpty(value)) return `${start} ${flat(value, indent + start.length + 1, indent)}`
      return `${start}\n${' '.repeat(inner)}${blockText(value, inner, options)}`
    })
    .join(' '.repeat(indent))
}

function listText({ items }: ListNode, indent: number, options: PythonYamlOptions): string {
  return items
    .map(item => {
      if (item.kind === 'scalar' || isEmpty(item)) return `- ${flat(item, indent + 2, indent)}`
      return `- ${blockText(item, indent + INDENT, options)}`
    })
    .join(' '.repeat(indent))
}

function blockText(node: MapNode | ListNode, indent: number, options: PythonYamlOptions): string {
  return node.kind === 'map' ? mapText(node, indent, options) : listText(node, indent, options)
}

const isEmpty = (node: MapNode | ListNode): boolean =>
  node.kind === 'map' ? node.entries.size === 0 : node.items.length === 0

/** A scalar or an empty collection, with the line break. */
function flat(node: TreeNode, column: number, indent: number): string {
  if (node.kind === 'map') return '{}\n'
  if (node.kind === 'list') return '[]\n'
  return `${scalarText(node, column, indent + INDENT, 'value')}\n`
}

/** @param indent indentation of continuation lines */
function scalarText(
  scalar: Pick<ScalarNode, 'type' | 'value'>,
  column: number,
  indent: number,
  as: 'key' | 'value',
): string {
  const { type, value } = scalar
  if (type === 'null') return 'null'
  if (type === 'boolean') return String(value)
  if (type === 'integer') return String(value)
  if (type === 'float') return floatText(value as number)
  const text = value as string
  const writer = new FoldingWriter(column, indent, as === 'value')
  const { plain, singleQuoted, multiline } = stylesFor(text)
  if (plain && isPyYamlText(text)) writePlain(text, writer)
  else if (singleQuoted && !(as === 'key' && multiline)) writeSingleQuoted(text, writer)
  else writeDoubleQuoted(text, writer)
  return writer.text
}

function floatText(value: number): string {
  if (Number.isNaN(value)) return '.nan'
  if (!Number.isFinite(value)) return value > 0 ? '.inf' : '-.inf'
  const text = pythonText({ kind: 'scalar', type: 'float', value, place: { line: 1, column: 1 } })
  return text.includes('.') ? text : text.replace('e', '.0e')
}

/** Styles that a string allows, like the emitter's `analyze_scalar` without `allow_unicode`. */
function stylesFor(text: string) {
  const multiline = /[\n\x85\u2028\u2029]/.test(text)
  const special = /[^\n\x20-\x7e]/.test(text)
  const indicators = /^(?:---|\.\.\.)|^[#,[\]{}&*!|>'"%@`]|^[?:-](?=[\s\0]|$)|(?!^):(?=[\s\0]|$)|(?<=[\s\0])#/.test(
    text,
  )
  const plain = !multiline && !special && !indicators && !/^ | $/.test(text)
  return { multiline, plain, singleQuoted: !special && !/\n | \n/.test(text) }
}

/** Accumulates text and tracks the column, for folding long lines. */
class FoldingWriter {
  text = ''
  column: number
  private readonly indent: number
  private readonly folds: boolean

  constructor(column: number, indent: number, folds: boolean) {
    this.column = column
    this.indent = indent
    this.folds = folds
  }

  write(text: string): void {
    this.text += text
    this.column += text.length
  }

  /** Starts a new line after `breaks` line breaks. */
  newLine(breaks = 1): void {
    this.text += '\n'.repeat(breaks) + ' '.repeat(this.indent)
    this.column = this.indent
  }

  isPast(columns: number): boolean {
    return this.folds && this.column + columns > BEST_WIDTH
  }
}

/** Folds at single spaces past the width. */
function writePlain(text: string, writer: FoldingWriter): void {
  for (const [run] of text.matchAll(/ +|[^ ]+/g)) {
    if (run === ' ' && writer.isPast(0)) writer.newLine()
    else writer.write(run)
  }
}

function writeSingleQuoted(text: string, writer: FoldingWriter): void {
  writer.write("'")
  for (const { 0: run, index } of text.matchAll(/ +|\n+|[^ \n]+/g)) {
    const inside = index > 0 && index + run.length < text.length
    if (run[0] === '\n') writer.newLine(run.length + 1)
    else if (run === ' ' && inside && writer.isPast(0)) writer.newLine()
    else writer.write(run.replaceAll("'", "''"))
  }
  writer.write("'")
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\0': '0',
  '\x07': 'a',
  '\x08': 'b',
  '\t': 't',
  '\n': 'n',
  '\v': 'v',
  '\f': 'f',
  '\r': 'r',
  '\x1b': 'e',
  '"': '"',
  '\\': '\\',
  '\x85': 'N',
  '\xa0': '_',
  '\u2028': 'L',
  '\u2029': 'P',
}

function writeDoubleQuoted(text: string, writer: FoldingWriter): void {
  const characters = [...text]
  let pending = ''
  writer.write('"')
  for (const [index, character] of characters.entries()) {
    const escaped = escapeOf(character)
    if (escaped !== undefined) {
      writer.write(pending + escaped)
      pending = ''
    }
    const isInside = index > 0 && index < characters.length - 1
    if (
      isInside &&
      (character === ' ' || pending === '') &&
      writer.isPast(escaped === undefined ? pending.length : -1)
    ) {
      writer.write(`${pending}\\`)
      writer.newLine()
      pending = ''
      // A leading space of a continuation line must be escaped.
      if ((escaped === undefined ? character : characters[index + 1]) === ' ') writer.write('\\')
    }
    if (escaped === undefined) pending += character
  }
  writer.write(`${pending}"`)
}

function escapeOf(character: string): string | undefined {
  if (Object.hasOwn(ESCAPES, character)) return `\\${ESCAPES[character]}`
  const code = character.codePointAt(0)!
  if (code >= 0x20 && code <= 0x7e) return undefined
  const [mark, digits] = code <= 0xff ? ['x', 2] : code <= 0xffff ? ['u', 4] : ['U', 8]
  return `\\${mark}${code
    .toString(16)
    .toUpperCase()
    .padStart(digits as number, '0')}`
}
