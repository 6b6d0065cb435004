/** Reads JSON text as bytes if it is in plain form; anything else goes through JSON.parse. */

const NOT_PLAIN = new Error('not plain')

/** Stops reading: the text must go through JSON.parse. */
export function notPlain(): never {
  throw NOT_PLAIN
}

/** Result of `read`; `undefined` if it calls `notPlain`. */
export function unlessNotPlain<Result>(read: () => Result): Result | undefined {
  try {
    return read()
  } catch (error) {
    if (error === NOT_PLAIN) return undefined
    throw error
  }
}

export const SPACE = 0x20
export const QUOTE = 0x22
export const COLON = 0x3a
export const OPEN_BRACKET = 0x5b
export const BACKSLASH = 0x5c
export const CLOSE_BRACKET = 0x5d
export const OPEN_BRACE = 0x7b
export const CLOSE_BRACE = 0x7d
const COMMA = 0x2c

export class PlainJson {
  protected readonly text: Uint8Array
  protected at = 0

  constructor(text: Uint8Array) {
    this.text = text
  }

  /** Calls `read` at the value of each member of the object that starts here. */
  protected eachMember(read: (key: string) => void): void {
    this.expect(OPEN_BRACE)
    for (let count = 0; this.hasItem(CLOSE_BRACE, count); count++) {
      const start = this.at
      this.skipString()
      const key = String.fromCharCode(...this.text.subarray(start + 1, Math.min(this.at - 1, start + 64)))
      if (key.includes('\\')) notPlain()
      this.expect(COLON)
      read(key)
    }
  }

  /** Whether another item follows the `count` ones already read; skips the separator or closing bracket. */
  protected hasItem(close: number, count: number): boolean {
    this.skipSpaces()
    const byte = this.text[this.at]
    if (byte !== close && count === 0) return true
    if (byte !== close && byte !== COMMA) notPlain()
    this.at++
    if (byte === close) return false
    this.skipSpaces()
    return true
  }

  protected expect(byte: number): void {
    this.skipSpaces()
    if (this.text[this.at] !== byte) notPlain()
    this.at++
    this.skipSpaces()
  }

  /** Skips a value without validating it; JSON.parse does that. */
  protected skipValue(): void {
    let depth = 0
    for (; this.at < this.text.length; this.at++) {
      const byte = this.text[this.at]
      if (byte === QUOTE) {
        this.skipString()
        this.at--
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++
      else if (depth === 0 && (byte === COMMA || byte === CLOSE_BRACE)) return
      else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--
    }
    notPlain()
  }

  private skipString(): void {
    const { text } = this
    if (text[this.at] !== QUOTE) notPlain()
    let at = this.at + 1
    while (text[at] !== QUOTE) {
      if (at >= text.length) notPlain()
      at += text[at] === BACKSLASH ? 2 : 1
    }
    this.at = at + 1
  }

  private skipSpaces(): void {
    const { text } = this
    let byte = text[this.at]
    while (byte === SPACE || byte === 9 || byte === 10 || byte === 13) byte = text[++this.at]
  }
}
