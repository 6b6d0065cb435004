/** Finds comparisons such as `1 < x < 3`, which Jinja2 chains and the parser reads as `(1 < x) < 3`. */
import { unsupported } from './values.js'

/** A token of @huggingface/jinja. */
export interface Token {
  readonly type: string
  readonly value: string
}

/** Between these, and between brackets, a comparison ends. */
const SEPARATORS = ['and', 'or', 'not', 'if', 'else', 'elif', 'set', 'for']
const ENDS = ['Comma', 'Colon', 'Equals', 'CloseStatement', 'CloseExpression', 'Text']

/** @throws UNSUPPORTED for a chained comparison */
export function rejectChainedComparisons(tokens: readonly Token[]): void {
  /** Whether the expression has a comparison, for each bracket around the token. */
  const compared = [false]
  for (const [index, { type, value }] of tokens.entries()) {
    const isName = type === 'Identifier' && tokens[index - 1]?.type !== 'Dot'
    if (type.startsWith('Open')) compared.push(false)
    else if (/^Close(?:Paren|SquareBracket|CurlyBracket)$/.test(type)) compared.pop()
    else if (type === 'ComparisonBinaryOperator' || (isName && value === 'in')) {
      if (compared.at(-1)) throw unsupported('a chained comparison')
      compared[compared.length - 1] = true
    } else if (ENDS.includes(type)) {
      if (type.startsWith('Close')) compared.pop()
      else compared[compared.length - 1] = false
    } else if (isName && SEPARATORS.includes(value) && tokens[index + 1]?.value !== 'in') {
      compared[compared.length - 1] = false
    }
  }
}
