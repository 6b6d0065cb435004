/** Live statistics of a stage. Bytes are the sum of the items' `byteLength`. */
export interface StageStats {
  itemsIn: number
  itemsOut: number
  bytesIn: number
  bytesOut: number
  /** Lines, documents or samples. Every input record must be delivered or rejected, otherwise the run fails. */
  recordsIn: number
  recordsOut: number
  rejected: number
  /**
   * Set by stages whose output records differ from the input records, such as samples cut from documents: totals need
   * not add up.
   */
  recounts: boolean
  /** Milliseconds spent waiting for the previous and for the next stage. */
  waitedForInputMs: number
  waitedForOutputMs: number
  /** Current activity. */
  state: 'idle' | 'working' | 'waiting for input' | 'waiting for output' | 'ended'
  /** Counters of the stage itself, such as tokens. */
  readonly counts: Record<string, number>
  /** Notices for the user that are not errors. */
  readonly notes: string[]
}
