/** Access to the fields of a parsed tokenizer.json, and the two kinds of rejection. */
import { PenstockError } from '../../errors.js'

export type Json = Readonly<Record<string, unknown>>

export function invalid(reason: string): never {
  throw new PenstockError('TOKENIZER_INVALID', `not a tokenizer.json: ${reason}`)
}

/** @param reason begins with the place in the file, such as `pre_tokenizer.pretokenizers[1]: type Split` */
export function unsupported(reason: string): never {
  throw new PenstockError('UNSUPPORTED', `unsupported tokenizer.json: ${reason}`)
}

export function section(parent: Json, key: string): Json | undefined {
  const value = parent[key]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'object' || Array.isArray(value)) invalid(`${key} is not an object`)
  return value as Json
}

export function sections(parent: Json, key: string): readonly Json[] {
  const value = parent[key]
  return Array.isArray(value) ? (value as Json[]) : invalid(`a Sequence has no list of ${key}`)
}
