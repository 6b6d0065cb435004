/** What a check of a file or a folder found. */
import { PenstockError, toPenstockError } from '../errors.js'

export type FindingLevel =
  /** It is not what was written, or not what its format allows. */
  | 'damaged'
  /** It may be right, but is not what one expects. */
  | 'doubtful'
  /** Something that could not be checked, or that lies about. */
  | 'note'

export interface Finding {
  readonly level: FindingLevel
  /** Where it is and what it is, as every error tells it. */
  readonly error: PenstockError
}

export interface Verdict {
  readonly path: string
  readonly kind: 'index' | 'packed file' | 'checkpoint' | 'leftover'
  /** What was counted on the way: records, tokens, bytes. */
  readonly counts: Readonly<Record<string, number>>
  readonly findings: readonly Finding[]
}

export const isSound = ({ findings }: Verdict): boolean => findings.every(({ level }) => level !== 'damaged')

/** Collects findings while something is checked. */
export class Findings {
  readonly list: Finding[] = []

  add(level: FindingLevel, error: PenstockError): void {
    this.list.push({ level, error })
  }

  /** Says that a file has no manifest; one that does not fit is a finding already. */
  noManifest(file: string): void {
    if (this.list.length > 0) return
    const message = 'no manifest: a changed byte is found only where it breaks the form'
    this.add('note', new PenstockError('FILE_MISSING', message, { file }))
  }

  /** Runs a check; what it throws is damage. Answers undefined then. */
  async of<Result>(check: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await check()
    } catch (error) {
      this.add('damaged', toPenstockError(error, 'FILE_UNREADABLE'))
      return undefined
    }
  }
}
