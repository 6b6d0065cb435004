/**
 * Documents cut or filled to one length, as the Hugging Face tokenizers do it: what the post-processor puts around a text
 * stays and is counted, the text between is cut; filling comes last.
 */
import type { TokenArray } from '../formats/batches.js'

export type Side = 'left' | 'right'

export interface LengthFit {
  readonly maxLength: number
  /** The side on which longer documents lose tokens; undefined leaves them. */
  readonly truncate: Side | undefined
  /** The side on which shorter documents get tokens; undefined leaves them. */
  readonly pad: { readonly side: Side; readonly id: number } | undefined
  /** The end-of-document token takes the place of the last token of a document of this length. */
  readonly keepLength: boolean
}

/** How many tokens the post-processor puts before and behind every text. */
export interface TemplateTokens {
  readonly before: number
  readonly after: number
}

/** The length of a document of `count` tokens once it fits. */
export function fittedLength(count: number, fit: LengthFit, { before, after }: TemplateTokens): number {
  // Where not even the surroundings have room, the Hugging Face library cuts nothing.
  const isCut = fit.truncate !== undefined && count > fit.maxLength && before + after <= fit.maxLength
  const cut = isCut ? fit.maxLength : count
  return fit.pad === undefined ? cut : Math.max(cut, fit.maxLength)
}

/** Writes a document to target[at...], fitted. `target` has room for `fittedLength` tokens. @returns the place after it */
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
  // The cut lies between the text and what surrounds it, on the side that loses tokens.
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
