/**
 * Parses the subset of regular expressions that tokenizer files use for pre-tokenization into a tree over code-point sets.
 * Constructs that a finite automaton cannot match exactly (back-references, look-behind, lazy repeats, anchors) are
 * rejected, so that no pattern is followed approximately.
 */
import { PenstockError } from '../../errors.js'
import { type CodePointSet, complement, contains, intersects, unicodeClass, union } from './unicode.js'

export type RegexNode =
  | { readonly kind: 'set'; readonly set: CodePointSet }
  | { readonly kind: 'sequence'; readonly items: readonly RegexNode[] }
  | { readonly kind: 'choice'; readonly options: readonly RegexNode[] }
  | {
      readonly kind: 'repeat'
      readonly item: RegexNode
      readonly min: number
      readonly max: number
      readonly possessive: boolean
    }
  /** One character of look-ahead, not consumed; the end of the text is in no set. */
  | { readonly kind: 'ahead'; readonly set: CodePointSet; readonly negative: boolean }

const ESCAPED_CONTROLS: Record<string, number> = { n: 10, r: 13, t: 9, f: 12, v: 11, a: 7, e: 27 }
/** Letter pairs that a single character folds to (such as U+FB01): rejected in case-insensitive text. */
const FOLDING_PAIRS = /ss|st|ff|fi|fl|i\u0307|[fhjntwy][\u0300-\u036f]|\u02bcn/i

/** @throws UNSUPPORTED for syntax outside the subset */
export function parseRegex(source: string): RegexNode {
  const parser = new RegexParser(source)
  const node = parser.choice()
  if (!parser.atEnd) parser.refuse('an unmatched )')
  return node
}

class RegexParser {
  private readonly source: string
  private at = 0
  private ignoreCase = false

  constructor(source: string) {
    this.source = source
  }

  get atEnd(): boolean {
    return this.at >= this.source.length
  }

  refuse(what: string): never {
    throw new PenstockError('UNSUPPORTED', `the pattern ${JSON.stringify(this.source)} has ${what} at ${this.at}`)
  }

  choice(): RegexNode {
    const options = [this.sequence()]
    while (this.take('|')) options.push(this.sequence())
    return options.length === 1 ? options[0]! : { kind: 'choice', options }
  }

  private sequence(): RegexNode {
    const items: RegexNode[] = []
    const start = this.at
    while (!this.atEnd && this.peek() !== '|' && this.peek() !== ')') items.push(this.repeat())
    if (this.ignoreCase && FOLDING_PAIRS.test(this.source.slice(start, this.at)))
      this.refuse('a multi-letter case fold')
    return items.length === 1 ? items[0]! : { kind: 'sequence', items }
  }

  private repeat(): RegexNode {
    let node = this.atom()
    for (;;) {
      const bounds = this.bounds()
      if (bounds === undefined) return node
      if (node.kind === 'ahead') this.refuse('a repeated look-ahead')
      if (this.peek() === '?') this.refuse('a lazy repeat')
      if (this.peek() === '+' && bounds.counted) this.refuse('a + after a counted repeat')
      const possessive = this.take('+')
      node = { kind: 'repeat', item: node, min: bounds.min, max: bounds.max, possessive }
    }
  }

  private bounds(): { min: number; max: number; counted: boolean } | undefined {
    if (this.take('?')) return { min: 0, max: 1, counted: false }
    if (this.take('*')) return { min: 0, max: Number.POSITIVE_INFINITY, counted: false }
    if (this.take('+')) return { min: 1, max: Number.POSITIVE_INFINITY, counted: false }
    const counted = /^\{(\d+)(,?)(\d*)\}/.exec(this.source.slice(this.at))
    if (counted === null) return undefined
    this.at += counted[0].length
    const min = Number(counted[1])
    const max = counted[3] !== '' ? Number(counted[3]) : counted[2] === '' ? min : Number.POSITIVE_INFINITY
    if (max > 64 && max !== Number.POSITIVE_INFINITY) this.refuse('a repeat of more than 64')
    return { min, max, counted: true }
  }

  private atom(): RegexNode {
    const char = this.peek()
    if (char === '(') return this.group()
    if (char === '[') return { kind: 'set', set: this.bracket() }
    if (char === '^' || char === '$') this.refuse('an anchor')
    if (char === '.') {
      this.at++
      return { kind: 'set', set: complement([10, 11]) }
    }
    return { kind: 'set', set: this.fold(char === '\\' ? this.escape() : this.literal()) }
  }

  private group(): RegexNode {
    const opening = /^\((\?(:|i:|!|=|i\)|<?[^)]))?/.exec(this.source.slice(this.at))![0]
    this.at += opening.length
    const outer = this.ignoreCase
    if (opening === '(?i)') {
      this.ignoreCase = true
      return { kind: 'sequence', items: [] }
    }
    if (opening === '(?i:') this.ignoreCase = true
    else if (!['(', '(?:', '(?!', '(?='].includes(opening)) this.refuse(`a group ${opening}`)
    const node = this.choice()
    if (!this.take(')')) this.refuse('an unclosed (')
    this.ignoreCase = outer
    if (opening !== '(?!' && opening !== '(?=') return node
    if (node.kind !== 'set') this.refuse('a look-ahead of more than one character')
    return { kind: 'ahead', set: node.set, negative: opening === '(?!' }
  }

  private bracket(): CodePointSet {
    this.at++
    const negative = this.take('^')
    let set: CodePointSet = []
    while (this.peek() !== ']') {
      if (this.atEnd) this.refuse('an unclosed [')
      if (this.source.startsWith('&&', this.at)) this.refuse('an intersection')
      if (this.source.startsWith('[:', this.at)) this.refuse('a POSIX class')
      set = union(set, this.peek() === '[' ? this.bracket() : this.range())
    }
    this.at++
    if (negative && this.ignoreCase) this.refuse('a negated set without case')
    set = this.fold(set)
    return negative ? complement(set) : set
  }

  private range(): CodePointSet {
    const first = this.peek() === '\\' ? this.escape() : this.literal()
    const isRange = this.peek() === '-' && this.source[this.at + 1] !== ']'
    if (!isRange) return first
    if (first.length !== 2 || first[1]! - first[0]! !== 1) this.refuse('a range that starts with a class')
    this.at++
    const last = this.peek() === '\\' ? this.escape() : this.literal()
    if (last.length !== 2 || last[1]! <= first[0]!) this.refuse('a range that ends before it starts')
    return [first[0]!, last[1]!]
  }

  private literal(): CodePointSet {
    const codePoint = this.source.codePointAt(this.at)!
    this.at += codePoint > 0xffff ? 2 : 1
    return [codePoint, codePoint + 1]
  }

  private escape(): CodePointSet {
    this.at++
    const property = /^([pP])\{(\^?)([A-Za-z_]+)\}/.exec(this.source.slice(this.at))
    if (property !== null) {
      const set = unicodeClass(property[3]!) ?? this.refuse(`the unknown property ${property[3]}`)
      this.at += property[0].length
      return (property[1] === 'P') === (property[2] === '^') ? set : complement(set)
    }
    const code = /^(?:x([0-9a-fA-F]{2})|x\{([0-9a-fA-F]+)\}|u([0-9a-fA-F]{4}))/.exec(this.source.slice(this.at))
    if (code !== null) {
      this.at += code[0].length
      const codePoint = Number.parseInt(code[1] ?? code[2] ?? code[3]!, 16)
      return [codePoint, codePoint + 1]
    }
    const char = this.peek()
    const control = ESCAPED_CONTROLS[char]
    if (control !== undefined || /[^A-Za-z0-9]/.test(char)) {
      if (control === undefined) return this.literal()
      this.at++
      return [control, control + 1]
    }
    const name = { s: 'White_Space', d: 'Nd' }[char.toLowerCase()]
    if (name === undefined) this.refuse(`the escape \\${char}`)
    this.at++
    const set = unicodeClass(name)!
    return char === char.toLowerCase() ? set : complement(set)
  }

  /** Adds the other case of ASCII letters; U+017F (s) and U+212A (k) fold to ASCII too. */
  private fold(set: CodePointSet): CodePointSet {
    if (!this.ignoreCase) return set
    if (intersects(set, complement([0, 128])) && intersects(set, unicodeClass('L')!))
      this.refuse('letters without case')
    const letters: number[][] = []
    for (let lower = 97; lower <= 122; lower++) {
      if (!contains(set, lower) && !contains(set, lower - 32)) continue
      letters.push([lower, lower + 1], [lower - 32, lower - 31])
      if (lower === 115) letters.push([0x17f, 0x180])
      if (lower === 107) letters.push([0x212a, 0x212b])
    }
    return union(set, ...letters)
  }

  private peek(): string {
    return this.source[this.at] ?? ''
  }

  private take(char: string): boolean {
    if (this.peek() !== char) return false
    this.at++
    return true
  }
}
