/**
 * Parses the regular expressions of tokenizer files, in the syntax of Oniguruma, into a tree over code-point sets. Constructs
 * whose results would be approximate (back-references, \\X, \\K, scripts other than Han) are rejected.
 */
import { PenstockError } from '../../errors.js'
import {
  ANY,
  ESCAPED_NODES,
  hasLook,
  LINE_FEED,
  lengthsOf,
  lineEnd,
  lineStart,
  look,
  mayBeEmpty,
  type RegexNode,
  setNode,
} from './regex-nodes.js'
import {
  CODE_POINT_LIMIT,
  type CodePointSet,
  complement,
  contains,
  intersection,
  intersects,
  unicodeClass,
  union,
} from './unicode.js'

const HEX_DIGITS: CodePointSet = [48, 58, 65, 71, 97, 103]

const MAX_COUNT = 64

const ESCAPED_CONTROLS: Record<string, number> = { n: 10, r: 13, t: 9, f: 12, v: 11, a: 7, e: 27 }
const ESCAPED_SETS: Record<string, string> = { s: 'White_Space', d: 'Nd', w: 'OnigurumaWord' }
/** In brackets as [:alnum:], and, except `word`, as properties. */
const POSIX_CLASSES: Record<string, readonly string[]> = {
  alnum: ['Alphabetic', 'Nd'],
  alpha: ['Alphabetic'],
  cntrl: ['Cc'],
  digit: ['Nd'],
  space: ['White_Space'],
  word: ['OnigurumaWord'],
}
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
  private dotMatchesLineFeed = false

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
    if (this.bounds() !== undefined) this.refuse('a repeat of nothing')
    let node = this.atom()
    for (;;) {
      const bounds = this.bounds()
      if (bounds === undefined) return node
      if (lengthsOf(node).max === 0) this.refuse('a repeated anchor or look-around')
      if (bounds.max === Number.POSITIVE_INFINITY && mayBeEmpty(node)) this.refuse('a repeat of what may be empty')
      const { min, max, counted } = bounds
      if (counted && this.peek() === '?' && min === max) this.refuse('a ? after a counted repeat')
      const mode = this.take('?') ? 'lazy' : !counted && this.take('+') ? 'possessive' : 'greedy'
      node = { kind: 'repeat', item: node, min, max, mode }
    }
  }

  /** A + after a counted repeat is a further repeat; after the others it makes them possessive. */
  private bounds(): { min: number; max: number; counted: boolean } | undefined {
    if (this.take('?')) return { min: 0, max: 1, counted: false }
    if (this.take('*')) return { min: 0, max: Number.POSITIVE_INFINITY, counted: false }
    if (this.take('+')) return { min: 1, max: Number.POSITIVE_INFINITY, counted: false }
    const counted = /^\{(?:(\d+)(,?)(\d*)|,(\d+))\}/.exec(this.source.slice(this.at))
    if (counted === null) return undefined
    this.at += counted[0].length
    const [, first, comma, second, only] = counted
    const min = Number(first ?? 0)
    const last = only ?? second
    const max = last !== '' ? Number(last) : comma === '' ? min : Number.POSITIVE_INFINITY
    if (max < min) this.refuse('a repeat whose bounds are reversed')
    if (min > MAX_COUNT || (max > MAX_COUNT && max !== Number.POSITIVE_INFINITY))
      this.refuse(`a repeat of more than ${MAX_COUNT}`)
    return { min, max, counted: true }
  }

  private atom(): RegexNode {
    const char = this.peek()
    if (char === '(') return this.group()
    if (char === '[') return setNode(this.bracket())
    if (this.take('^')) return lineStart()
    if (this.take('$')) return lineEnd()
    if (this.take('.')) return setNode(this.dotMatchesLineFeed ? ANY : complement(LINE_FEED))
    if (char !== '\\') return setNode(this.fold(this.literal()))
    const node = ESCAPED_NODES[this.source[this.at + 1] ?? '']
    if (node === undefined) return setNode(this.fold(this.escape()))
    this.at += 2
    return node()
  }

  private group(): RegexNode {
    const opening = /^\((\?(:|[im]:|!|=|>|<!|<=|<[A-Za-z]\w*>|[im]\)|<?[^)]))?/.exec(this.source.slice(this.at))![0]
    this.at += opening.length
    const { ignoreCase, dotMatchesLineFeed } = this
    if (opening.startsWith('(?i')) this.ignoreCase = true
    if (opening.startsWith('(?m')) this.dotMatchesLineFeed = true
    // An option without a colon is valid, with all alternatives, to the end of the enclosing group.
    if (opening === '(?i)' || opening === '(?m)') return this.choice()
    const isKnown = /^\((\?(:|[im]:|!|=|>|<!|<=|<[A-Za-z]\w*>))?$/.test(opening)
    if (!isKnown) this.refuse(`a group ${opening}`)
    const node = this.choice()
    if (!this.take(')')) this.refuse('an unclosed (')
    this.ignoreCase = ignoreCase
    this.dotMatchesLineFeed = dotMatchesLineFeed
    if (opening === '(?>') return { kind: 'atomic', item: node }
    if (!/[!=]$/.test(opening)) return node
    if (opening.includes('<') && hasLook(node)) this.refuse('a look-around in a look-behind')
    return look(node, opening.includes('<') ? 'behind' : 'ahead', opening.endsWith('!'))
  }

  private bracket(): CodePointSet {
    this.at++
    const negative = this.take('^')
    const parts: CodePointSet[] = []
    // A ] in the first place is a character.
    let set: CodePointSet = this.peek() === ']' ? this.range() : []
    while (this.peek() !== ']') {
      if (this.atEnd) this.refuse('an unclosed [')
      if (this.source.startsWith('&&', this.at)) {
        if (set.length === 0) this.refuse('an intersection with nothing')
        parts.push(set)
        set = []
        this.at += 2
      } else set = union(set, this.member())
    }
    this.at++
    if (set.length === 0) this.refuse('an empty set')
    if ((negative || parts.length > 0) && this.ignoreCase) this.refuse('a negated set or an intersection without case')
    const result = this.fold([...parts, set].reduce(intersection))
    return negative ? complement(result) : result
  }

  private member(): CodePointSet {
    const posix = /^\[:(\^?)(\w+):\]/.exec(this.source.slice(this.at))
    if (posix === null) return this.peek() === '[' ? this.bracket() : this.range()
    const set = posixClass(posix[2]!) ?? this.refuse(`the class ${posix[0]}`)
    this.at += posix[0].length
    return posix[1] === '^' ? complement(set) : set
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
    const codePoint = this.source.codePointAt(this.at) ?? this.refuse('an unclosed [')
    this.at += codePoint > 0xffff ? 2 : 1
    return [codePoint, codePoint + 1]
  }

  private escape(): CodePointSet {
    this.at++
    const property = /^([pP])\{(\^?)([A-Za-z_]+)\}/.exec(this.source.slice(this.at))
    if (property !== null) {
      const set = propertyClass(property[3]!) ?? this.refuse(`the unknown property ${property[3]}`)
      this.at += property[0].length
      return (property[1] === 'P') === (property[2] === '^') ? set : complement(set)
    }
    const code = /^(?:x([0-9a-fA-F]{2})|x\{([0-9a-fA-F]+)\}|u([0-9a-fA-F]{4}))/.exec(this.source.slice(this.at))
    if (code !== null) {
      const codePoint = Number.parseInt(code[1] ?? code[2] ?? code[3]!, 16)
      if (codePoint >= CODE_POINT_LIMIT || (code[1] !== undefined && codePoint > 0x7f)) this.refuse(`\\${code[0]}`)
      this.at += code[0].length
      return [codePoint, codePoint + 1]
    }
    const char = this.peek()
    const control = ESCAPED_CONTROLS[char]
    if (control !== undefined) {
      this.at++
      return [control, control + 1]
    }
    if (/[^A-Za-z0-9]/.test(char)) return this.literal()
    const lower = char.toLowerCase()
    const name = ESCAPED_SETS[lower]
    if (name === undefined && lower !== 'h') this.refuse(`the escape \\${char}`)
    this.at++
    const set = name === undefined ? HEX_DIGITS : unicodeClass(name)!
    return char === lower ? set : complement(set)
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

const CATEGORIES: Record<string, string> = {
  letter: 'L',
  uppercaseletter: 'Lu',
  lowercaseletter: 'Ll',
  titlecaseletter: 'Lt',
  modifierletter: 'Lm',
  otherletter: 'Lo',
  mark: 'M',
  nonspacingmark: 'Mn',
  number: 'N',
  decimalnumber: 'Nd',
  punctuation: 'P',
  symbol: 'S',
  separator: 'Z',
  spaceseparator: 'Zs',
  other: 'C',
}

/** The set of a property, in any case and with underscores anywhere, as in Oniguruma. */
function propertyClass(name: string): CodePointSet | undefined {
  const plain = name.replaceAll('_', '').toLowerCase()
  return unicodeClass(CATEGORIES[plain] ?? name) ?? (plain === 'word' ? undefined : posixClass(plain))
}

function posixClass(name: string): CodePointSet | undefined {
  if (name === 'xdigit') return HEX_DIGITS
  const parts = POSIX_CLASSES[name]
  return parts === undefined ? undefined : union(...parts.map(part => unicodeClass(part)!))
}
