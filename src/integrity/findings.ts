/** Results of checking files and folders. */
import { PenstockError, toPenstockError } from '../errors.js'

export type FindingLevel =
  /** The content differs from what was written, or violates its format. */
  | 'damaged'
  /** The content may be correct, but is unusual. */
  | 'doubtful'
  /** Something that could not be checked, or a leftover file. */
  | 'note'

export interface Finding {
  readonly level: FindingLevel
  /** Location and description. */
  readonly error: PenstockError
}

export interface Verdict {
  readonly path: string
  readonly kind: 'index' | 'packed file' | 'packed rows' | 'checkpoint' | 'leftover'
  /** Totals counted during the check: records, tokens, bytes. */
  readonly counts: Readonly<Record<string, number>>
  readonly findings: readonly Finding[]
}

export const isSound = ({ findings }: Verdict): boolean => findings.every(({ level }) => level !== 'damaged')

/** Collects the findings of a check. */
export class Findings {
  readonly list: Finding[] = []

  add(level: FindingLevel, error: PenstockError): void {
    this.list.push({ level, error })
  }

  /** Notes that a file has no manifest, unless a mismatching manifest was already reported. */
  noManifest(file: string): void {
    if (this.list.length > 0) return
    const message = 'no manifest: changed bytes are detected only where they violate the format'
    this.add('note', new PenstockError('FILE_MISSING', message, { file }))
  }

  /** Runs a check and records its failure as damage; returns undefined then. */
  async run<Result>(check: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await check()
    } catch (error) {
      this.add('damaged', toPenstockError(error, 'FILE_UNREADABLE'))
      return undefined
    }
  }
}
