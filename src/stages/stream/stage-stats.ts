/** What a stage has done so far; read it at any time. Bytes are the items' `byteLength`. */
export interface StageStats {
  itemsIn: number
  itemsOut: number
  bytesIn: number
  bytesOut: number
  /** Lines, documents or samples; those of the input are delivered or rejected, or the run fails. */
  recordsIn: number
  recordsOut: number
  rejected: number
  /** Set by a body whose records out are other things than those in, as samples cut from documents: they need not add up. */
  recounts: boolean
  /** Milliseconds spent waiting for the stage before, and for the stage after. */
  waitedForInputMs: number
  waitedForOutputMs: number
  /** What it is doing now. */
  state: 'idle' | 'working' | 'waiting for input' | 'waiting for output' | 'ended'
  /** Counts that the stage itself keeps, such as tokens. */
  readonly counts: Record<string, number>
  /** What the user should know although nothing failed. */
  readonly notes: string[]
}
