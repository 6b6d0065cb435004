export type ScanResult =
  | { readonly ok: true }
  | {
      readonly ok: false
      readonly code: 'JSON_INVALID' | 'UTF8_INVALID' | 'LINE_BLANK'
      readonly offset: number
      readonly message: string
    }
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
export function scanLine(bytes: Uint8Array, start: number, end: number): ScanResult {
  if (start === end) return { ok: false, code: 'LINE_BLANK', offset: start, message: 'blank line' }
  let text: string
  try {
    text = decoder.decode(bytes.subarray(start, end))
  } catch {
    return { ok: false, code: 'UTF8_INVALID', offset: start, message: 'not UTF-8' }
  }
  try {
    JSON.parse(text)
    return { ok: true }
  } catch (error) {
    return { ok: false, code: 'JSON_INVALID', offset: start, message: String(error) }
  }
}
