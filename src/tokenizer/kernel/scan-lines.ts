/**
 * Finds and validates the lines of whole chunks of JSONL; faults become status codes. Separate from the tokenizer, which
 * workers that only validate need not load. The kernel and TypeScript give the same results.
 */
import type { ErrorCode } from '../../errors.js'
import { extractText, type FieldPath, type ScanFault, scanLine } from '../../formats/json-scan.js'
import { KernelEngine, type KernelSource } from './kernel-engine.js'
import { KernelLines } from './lines.js'

/** Error code of each status; 0 is a valid line. */
export const LINE_STATUSES = [
  undefined,
  'JSON_INVALID',
  'UTF8_INVALID',
  'LINE_BLANK',
  'FIELD_MISSING',
  'FIELD_NOT_TEXT',
  'DOCUMENT_EMPTY',
  'TOKEN_TOO_WIDE',
] as const satisfies readonly (ErrorCode | undefined)[]

/**
 * The lines of a chunk, one entry per line; line i is [lineStarts[i], lineEnds[i]) without its line feed. Valid until the
 * kernel's next call, which reuses the tables.
 */
export interface ScannedLines {
  readonly lineStarts: Uint32Array
  readonly lineEnds: Uint32Array
  /** Index into LINE_STATUSES. */
  readonly statuses: Uint8Array
}

export interface LineKernel {
  /** Memory for `byteLength` bytes; a chunk read into it is not copied. Valid until the next call. */
  input(byteLength: number): Uint8Array
  /** Validates the lines of bytes[start, end); the last one may lack its line feed. */
  scan(bytes: Uint8Array, start?: number, end?: number): ScannedLines
}

/** A kernel that only validates lines; in TypeScript without `wasm`. */
export function createLineKernel(options: { readonly wasm?: KernelSource | undefined } = {}): LineKernel {
  if (options.wasm === undefined) return new TypeScriptLines()
  const lines = new KernelLines(new KernelEngine(options.wasm))
  return { input: length => lines.input(length), scan: (bytes, start, end) => lines.scan(bytes, start, end) }
}

/** Position and message of the fault of a line with a status other than 0. */
export function explainLine(
  bytes: Uint8Array,
  start: number,
  end: number,
  path: FieldPath,
): ScanFault<string> | undefined {
  const result = extractText(bytes, start, end, path, new Uint8Array(end - start))
  return typeof result === 'number' ? undefined : result
}

const EMPTY = new Uint8Array(0)

export class TypeScriptLines implements LineKernel {
  private buffer = EMPTY

  input(byteLength: number): Uint8Array {
    if (this.buffer.length < byteLength) this.buffer = new Uint8Array(byteLength)
    return this.buffer.subarray(0, byteLength)
  }

  scan(bytes: Uint8Array, start = 0, end = bytes.length): ScannedLines {
    return this.eachLine(bytes, start, end, (from, to) => statusOf(scanLine(bytes, from, to)))
  }

  /** Finds the lines and their statuses. */
  protected eachLine(
    bytes: Uint8Array,
    start: number,
    end: number,
    statusOfLine: (start: number, end: number) => number,
  ): ScannedLines {
    const lineStarts: number[] = []
    const lineEnds: number[] = []
    const statuses: number[] = []
    for (let at = start; at < end; ) {
      const found = bytes.indexOf(0x0a, at)
      const lineEnd = found < 0 || found > end ? end : found
      statuses.push(statusOfLine(at, lineEnd))
      lineStarts.push(at)
      lineEnds.push(lineEnd)
      at = lineEnd + 1
    }
    return {
      lineStarts: Uint32Array.from(lineStarts),
      lineEnds: Uint32Array.from(lineEnds),
      statuses: Uint8Array.from(statuses),
    }
  }
}

export function statusOf(result: { ok: true } | { ok: false; code: (typeof LINE_STATUSES)[number] }): number {
  return result.ok ? 0 : LINE_STATUSES.indexOf(result.code)
}
