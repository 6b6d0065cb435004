/** Operators of Jinja templates, with Python's results. */
import { contains } from './filters.js'
import { compare, equal, numeric, str, TemplateError, truth, unsupported, type Value } from './values.js'

const MAX_EXPONENT = 10_000n
const MAX_REPEATED = 10_000_000

export function unary(operator: string, value: Value): Value {
  if (operator === 'not') return !truth(value)
  const number = numeric(value)
  if (number === undefined) throw new TemplateError(`${operator} expects a number`)
  return operator === '-' ? -number : number
}

/** A binary operator other than `and` and `or`. */
export function operate(operator: string, first: Value, second: Value): Value {
  switch (operator) {
    case '==':
      return equal(first, second)
    case '!=':
      return !equal(first, second)
    case 'in':
      return contains(second, first)
    case 'not in':
      return !contains(second, first)
    case '<':
      return compare(first, second) < 0
    case '<=':
      return compare(first, second) <= 0
    case '>':
      return compare(first, second) > 0
    case '>=':
      return compare(first, second) >= 0
    case '~':
      return str(first) + str(second)
    default:
      return arithmetic(operator, first, second)
  }
}

function arithmetic(operator: string, left: Value, right: Value): Value {
  if (operator === '+') {
    if (typeof left === 'string' && typeof right === 'string') return left + right
    if (Array.isArray(left) && Array.isArray(right)) return [...left, ...right]
  }
  if (operator === '%' && typeof left === 'string') throw unsupported('formatting with %')
  const [a, b] = [numeric(left), numeric(right)]
  if (operator === '*' && a === undefined && typeof b === 'bigint') return repeated(left, b)
  if (operator === '*' && b === undefined && typeof a === 'bigint') return repeated(right, a)
  if (a === undefined || b === undefined) throw new TemplateError(`${operator} does not accept these values`)
  if ('/%'.includes(operator[0]!) && Number(b) === 0) throw new TemplateError('division by zero')
  if (operator === '/') return Number(a) / Number(b)
  return typeof a === 'bigint' && typeof b === 'bigint'
    ? integerArithmetic(operator, a, b)
    : floatArithmetic(operator, Number(a), Number(b))
}

function repeated(value: Value, times: bigint): Value {
  const count = Math.max(0, Number(times))
  if (typeof value !== 'string') throw unsupported('a repeated list')
  if (value.length * count > MAX_REPEATED) throw unsupported(`a text of more than ${MAX_REPEATED} characters`)
  return value.repeat(count)
}

function integerArithmetic(operator: string, a: bigint, b: bigint): Value {
  switch (operator) {
    case '+':
      return a + b
    case '-':
      return a - b
    case '*':
      return a * b
    case '//':
      return (a - modulo(a, b)) / b
    case '%':
      return modulo(a, b)
    case '**':
      if (b > MAX_EXPONENT) throw unsupported(`an exponent above ${MAX_EXPONENT}`)
      return b < 0n ? floatArithmetic(operator, Number(a), Number(b)) : a ** b
    default:
      throw unsupported(`the operator ${operator}`)
  }
}

/** With the sign of the divisor, as in Python. */
const modulo = (a: bigint, b: bigint): bigint => ((a % b) + b) % b

function floatArithmetic(operator: string, a: number, b: number): number {
  switch (operator) {
    case '+':
      return a + b
    case '-':
      return a - b
    case '*':
      return a * b
    case '//':
      return Math.floor(a / b)
    case '%':
      return a - b * Math.floor(a / b)
    case '**':
      return a ** b
    default:
      throw unsupported(`the operator ${operator}`)
  }
}
