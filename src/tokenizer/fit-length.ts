/**
 * Truncates or pads documents to one length, as the Hugging Face tokenizers do: template tokens are kept and counted, only
 * the text is truncated; padding comes last.
 */
import type { TokenArray } from '../formats/batches.js'

export type Side = 'left' | 'right'

export interface LengthFit {
  readonly maxLength: number
  /** Side on which longer documents are truncated; undefined: they are not. */
  readonly truncate: Side | undefined
  /** Side on which shorter documents are padded; undefined: they are not. */
  readonly pad: { readonly side: Side; readonly id: number } | undefined
  /** The end-of-document token replaces the last token of a document of maximum length. */
  readonly keepLength: boolean
}

/** Numbers of tokens that the post-processor adds before and after every text. */
export interface TemplateTokens {
  readonly before: number
  readonly after: number
}

/** Length of a document of `count` tokens after truncation and padding. */
export function fittedLength(count: number, fit: LengthFit, { before, after }: TemplateTokens): number {
  // If not even the template fits, the Hugging Face library does not truncate.
  const isCut = fit.truncate !== undefined && count > fit.maxLength && before + after <= fit.maxLength
  const cut = isCut ? fit.maxLength : count
  return fit.pad === undefined ? cut : Math.max(cut, fit.maxLength)
}

/** Writes a fitted document to target[at...], which has room for `fittedLength` tokens. @returns the position after it */
export function writeFitted(
  document: TokenArray,
  target: TokenArray,
  at: number,
  fit: LengthFit,
  around: TemplateTokens,
): number {
  const end = at + fittedLength(document.length, fit, around)
  const kept = Math.min(document.length, end - at)
  const missing = end - at - kept
  const start = fit.pad?.side === 'left' ? at + missing : at
  // The gap is between the text and the template tokens, on the truncated side.
  const head = fit.truncate === 'left' ? around.before : kept - around.after
  const tail = kept - head
  target.set(document.subarray(0, head), start)
  target.set(document.subarray(document.length - tail), start + head)
  if (fit.pad !== undefined) {
    const filler = fit.pad.side === 'left' ? at : at + kept
    target.fill(fit.pad.id, filler, filler + missing)
  }
  return end
}
