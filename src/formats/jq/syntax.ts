/**
 * Parser of jq filters: text -> syntax tree. Operators and precedence are those of jq 1.8. For constructs that the evaluator
 * does not support (definitions, reduce, foreach, assignment, formats, destructuring) the parser throws `NotCompiled`, and the
 * full language is used instead. `InvalidFilter` is thrown for what is an error in any version of jq.
 */

import { literalOf, type NumberLiteral } from './numbers.js'

/** Thrown by the parser and the compiler for everything outside the compiled subset of the language. */
export class NotCompiled extends Error {}

/** Thrown for a filter that no version of jq accepts. */
export class InvalidFilter extends NotCompiled {
  constructor(problem: string, at: number) {
    super(`${problem} at character ${at + 1}`)
  }
}

export type Tree =
  | { readonly kind: 'identity' }
  | { readonly kind: 'recurse' }
  | { readonly kind: 'literal'; readonly value: string | number | boolean | null | NumberLiteral }
  | { readonly kind: 'text'; readonly parts: readonly (string | Tree)[] }
  | { readonly kind: 'index'; readonly of: Tree; readonly key: Tree; readonly optional: boolean }
  | {
      readonly kind: 'slice'
      readonly of: Tree
      readonly from: Tree | null
      readonly to: Tree | null
      readonly optional: boolean
    }
  | { readonly kind: 'each'; readonly of: Tree; readonly optional: boolean }
  | { readonly kind: 'try'; readonly body: Tree }
  | { readonly kind: 'negate'; readonly of: Tree }
  | { readonly kind: 'array'; readonly items: Tree | null }
  | { readonly kind: 'object'; readonly entries: readonly { readonly key: Tree; readonly value: Tree }[] }
  | { readonly kind: 'binary'; readonly operator: Operator; readonly left: Tree; readonly right: Tree }
  | { readonly kind: 'if'; readonly condition: Tree; readonly then: Tree; readonly otherwise: Tree }
  | { readonly kind: 'bind'; readonly source: Tree; readonly name: string; readonly body: Tree }
  | { readonly kind: 'variable'; readonly name: string; readonly at: number }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Tree[]; readonly at: number }

const LEVELS = [
  ['|'],
  [','],
  ['//'],
  ['or'],
  ['and'],
  ['==', '!=', '<', '<=', '>', '>='],
  ['+', '-'],
  ['*', '/', '%'],
] as const
export type Operator = (typeof LEVELS)[number][number]

const COMPARISON_LEVEL = 5
const PRODUCT_LEVEL = 7

/** Reserved words, which cannot be function names. */
const KEYWORDS = new Set(
  'def module import include if then else elif end as reduce foreach try catch label and or __loc__'.split(' '),
)

/** Start of constructs that only the full language has. */
const FULL_LANGUAGE = new RegExp(`^(@|\\?//|//=|[-+*/%|]=|=(?!=)|(${[...KEYWORDS].join('|')})\\b)`)

const IDENTITY: Tree = { kind: 'identity' }

/** Nesting limit, which protects the call stack. */
const DEPTH_LIMIT = 200

/** @throws NotCompiled */
export function parseFilter(text: string): Tree {
  const parser = new Parser(text)
  const tree = parser.pipe()
  parser.expectEnd()
  return tree
}

/** Recursive-descent parser without a tokenizer, since strings can contain filters. */
class Parser {
  readonly #text: string
  #at = 0
  #depth = 0
  /** Depth of nested objects. */
  #objects = 0

  constructor(text: string) {
    this.#text = text
  }

  /** A complete filter: the lowest precedence level, including `SOURCE as $name | BODY`. */
  pipe(): Tree {
    if (++this.#depth > DEPTH_LIMIT) throw new NotCompiled('nested too deeply')
    const tree = this.#level(0)
    this.#depth--
    return tree
  }

  expectEnd(): void {
    this.#skipSpace()
    if (this.#at < this.#text.length) throw this.#unexpected('expected an operator or the end')
  }

  #level(level: number): Tree {
    const operators: readonly Operator[] | undefined = LEVELS[level]
    if (operators === undefined) return this.#postfix()
    // Pipes and alternatives are right-associative, the others left-associative; comparisons do not chain.
    let left = this.#level(level + 1)
    for (;;) {
      const operator = operators.find(candidate => this.#takeOperator(candidate))
      if (operator === undefined) return left
      const groupsRight = operator === '|' || operator === '//'
      const right = groupsRight ? this.#level(level) : this.#level(level + 1)
      left = { kind: 'binary', operator, left, right }
      if (level === COMPARISON_LEVEL && operators.some(candidate => this.#takeOperator(candidate))) {
        throw this.#unexpected('comparisons do not chain:')
      }
    }
  }

  /** A term with its indices, `?` and `as` bindings; a leading minus applies to the whole product. */
  #postfix(): Tree {
    if (this.#take('-')) return { kind: 'negate', of: this.#level(PRODUCT_LEVEL) }
    let tree = this.#term()
    for (;;) {
      if (this.#take('?')) tree = { kind: 'try', body: tree }
      else if (this.#takeWord('as')) return this.#binding(tree)
      else {
        const suffixed = this.#suffix(tree)
        if (suffixed === undefined) return tree
        tree = suffixed
      }
    }
  }

  #binding(source: Tree): Tree {
    const name = this.#variableName()
    this.#expect('|')
    return { kind: 'bind', source, name, body: this.pipe() }
  }

  /** One `.name`, `."name"`, `[...]` or `.[...]` after a term. */
  #suffix(of: Tree): Tree | undefined {
    this.#skipSpace()
    if (this.#peek() === '[') return this.#bracket(of)
    if (this.#peek() !== '.' || this.#text.startsWith('..', this.#at)) return undefined
    const field = this.#field()
    if (field !== undefined) return this.#indexed(of, field)
    this.#at++
    this.#skipSpace()
    if (this.#peek() !== '[') throw this.#unexpected('expected a field or [')
    return this.#bracket(of)
  }

  #indexed(of: Tree, key: Tree): Tree {
    return { kind: 'index', of, key, optional: this.#take('?') }
  }

  /** The field name after a dot at the cursor, if there is one. */
  #field(): Tree | undefined {
    const name = this.#match(/\.([A-Za-z_][A-Za-z0-9_]*)/y)
    if (name !== undefined) return { kind: 'literal', value: name }
    const start = this.#at
    this.#at++
    this.#skipSpace()
    if (this.#peek() === '"') return this.#string()
    this.#at = start
    return undefined
  }

  #bracket(of: Tree): Tree {
    this.#expect('[')
    if (this.#take(']')) return { kind: 'each', of, optional: this.#take('?') }
    if (this.#take(':')) return this.#sliceEnd(of, null)
    const key = this.pipe()
    if (this.#take(':')) return this.#sliceEnd(of, key)
    this.#expect(']')
    return this.#indexed(of, key)
  }

  #sliceEnd(of: Tree, from: Tree | null): Tree {
    const to = this.#take(']') ? null : this.pipe()
    if (to !== null) this.#expect(']')
    else if (from === null) throw new InvalidFilter('expected a bound of the slice', this.#at - 1)
    return { kind: 'slice', of, from, to, optional: this.#take('?') }
  }

  #term(): Tree {
    this.#skipSpace()
    const char = this.#peek()
    const number = this.#match(/((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)/y)
    if (number !== undefined) return { kind: 'literal', value: literalOf(number) }
    if (char === '"') return this.#string()
    if (char === '.') return this.#dotTerm()
    if (char === '(') return this.#parenthesized()
    if (char === '[') return this.#array()
    if (char === '{') return this.#object()
    if (char === '$') return this.#variable()
    return this.#wordTerm()
  }

  #dotTerm(): Tree {
    if (this.#take('..')) return { kind: 'recurse' }
    const field = this.#field()
    if (field !== undefined) return this.#indexed(IDENTITY, field)
    this.#at++
    return IDENTITY
  }

  #parenthesized(): Tree {
    this.#expect('(')
    const tree = this.pipe()
    this.#expect(')')
    return tree
  }

  #array(): Tree {
    this.#expect('[')
    if (this.#take(']')) return { kind: 'array', items: null }
    const items = this.pipe()
    this.#expect(']')
    return { kind: 'array', items }
  }

  #object(): Tree {
    this.#expect('{')
    this.#objects++
    const entries: { key: Tree; value: Tree }[] = []
    while (!this.#take('}')) {
      if (entries.length > 0) {
        this.#expect(',')
        if (this.#take('}')) break
      }
      entries.push(this.#entry())
    }
    this.#objects--
    return { kind: 'object', entries }
  }

  #entry(): { key: Tree; value: Tree } {
    this.#skipSpace()
    if (this.#peek() === '$') {
      const variable = this.#variable()
      return { key: { kind: 'literal', value: variable.name }, value: variable }
    }
    if (this.#peek() === '(') {
      const key = this.#parenthesized()
      this.#expect(':')
      return { key, value: this.#entryValue() }
    }
    const word = this.#match(/([A-Za-z_][A-Za-z0-9_]*)/y)
    const key: Tree = word === undefined ? this.#string() : { kind: 'literal', value: word }
    if (this.#take(':')) return { key, value: this.#entryValue() }
    return { key, value: { kind: 'index', of: IDENTITY, key, optional: false } }
  }

  /** An object value: only terms and pipes of terms are allowed without parentheses. */
  #entryValue(): Tree {
    const first = this.#postfix()
    if (!this.#takeOperator('|')) return first
    return { kind: 'binary', operator: '|', left: first, right: this.#entryValue() }
  }

  #string(): Tree {
    this.#expect('"')
    const start = this.#at - 1
    const parts: (string | Tree)[] = []
    let literal = ''
    for (;;) {
      const char = this.#text[this.#at++]
      if (char === undefined) throw new InvalidFilter('unterminated string', start)
      if (char === '"') break
      if (char !== '\\') literal += char
      else if (this.#text[this.#at] === '(') {
        parts.push(literal, this.#parenthesized())
        literal = ''
      } else literal += this.#escape()
    }
    if (parts.length === 0) return { kind: 'literal', value: literal }
    return { kind: 'text', parts: [...parts, literal] }
  }

  #escape(): string {
    const hex = this.#match(/u([0-9a-fA-F]{4})/y)
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16))
    const escaped = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }
    const char = escaped[this.#text[this.#at++] as keyof typeof escaped]
    if (char === undefined) throw new NotCompiled('an unknown escape in a string')
    return char
  }

  #wordTerm(): Tree {
    const at = this.#at
    const word = this.#match(/([A-Za-z_][A-Za-z0-9_]*)/y)
    if (word === undefined) throw this.#unexpected('expected a term')
    if (word === 'if') return this.#conditional()
    if (word === 'try') {
      const body = this.#postfix()
      if (this.#takeWord('catch')) throw new NotCompiled('catch')
      return { kind: 'try', body }
    }
    if (word === 'true' || word === 'false') return { kind: 'literal', value: word === 'true' }
    if (word === 'null') return { kind: 'literal', value: null }
    if (KEYWORDS.has(word) || this.#text.startsWith('::', this.#at)) throw new NotCompiled(word)
    return { kind: 'call', name: word, args: this.#take('(') ? this.#arguments() : [], at }
  }

  #arguments(): Tree[] {
    const args = [this.pipe()]
    while (this.#take(';')) args.push(this.pipe())
    this.#expect(')')
    return args
  }

  #conditional(): Tree {
    const condition = this.pipe()
    this.#expectWord('then')
    const then = this.pipe()
    if (this.#takeWord('elif')) return { kind: 'if', condition, then, otherwise: this.#conditional() }
    const otherwise = this.#takeWord('else') ? this.pipe() : IDENTITY
    this.#expectWord('end')
    return { kind: 'if', condition, then, otherwise }
  }

  #variable(): Tree & { kind: 'variable' } {
    const at = this.#at
    return { kind: 'variable', name: this.#variableName(), at }
  }

  #variableName(): string {
    this.#skipSpace()
    const name = this.#match(/\$([A-Za-z_][A-Za-z0-9_]*)/y)
    if (name === undefined || KEYWORDS.has(name)) throw new NotCompiled('a pattern or a special variable')
    return name
  }

  /** The error for the text at the cursor, which the full language may allow: more in objects, assignments and formats. */
  #unexpected(problem: string): NotCompiled {
    this.#skipSpace()
    const isEnd = this.#at === this.#text.length
    const mayBeValid = this.#objects > 0 || FULL_LANGUAGE.test(this.#text.slice(this.#at))
    return mayBeValid && !isEnd ? new NotCompiled(problem) : new InvalidFilter(problem, this.#at)
  }

  #peek(): string | undefined {
    return this.#text[this.#at]
  }

  #skipSpace(): void {
    this.#match(/((?:[ \t\r\n]|#[^\n]*)*)/y)
  }

  /** Consumes the pattern at the cursor and returns its group. */
  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)
    if (found === null) return undefined
    this.#at = pattern.lastIndex
    return found[1]
  }

  #take(symbol: string): boolean {
    this.#skipSpace()
    if (!this.#text.startsWith(symbol, this.#at)) return false
    // "?//" is a different operator from "?".
    if (symbol === '?' && this.#text.startsWith('?//', this.#at)) throw new NotCompiled('?//')
    this.#at += symbol.length
    return true
  }

  #expect(symbol: string): void {
    if (!this.#take(symbol)) throw this.#unexpected(`expected ${symbol}`)
  }

  #takeWord(word: string): boolean {
    this.#skipSpace()
    const start = this.#at
    if (this.#match(/([A-Za-z_][A-Za-z0-9_]*)/y) === word) return true
    this.#at = start
    return false
  }

  #expectWord(word: string): void {
    if (!this.#takeWord(word)) throw this.#unexpected(`expected ${word}`)
  }

  /** Consumes an operator, but not the start of a longer one such as `|=`, `//=` or `<=`. */
  #takeOperator(operator: Operator): boolean {
    if (operator === 'and' || operator === 'or') return this.#takeWord(operator)
    this.#skipSpace()
    const whole = this.#match(/(\/\/=|[-+*/%|]=|==|!=|<=|>=|\/\/|[-+*/%|<>,=])/y)
    if (whole === operator) return true
    this.#at -= whole?.length ?? 0
    return false
  }
}
