// Bytes with a meaning in JSON syntax.
export const LINE_FEED: u32 = 0x0a
export const SPACE: u32 = 0x20
export const QUOTE: u32 = 0x22
export const COMMA: u32 = 0x2c
export const MINUS: u32 = 0x2d
export const COLON: u32 = 0x3a
export const OPEN_BRACKET: u32 = 0x5b
export const BACKSLASH: u32 = 0x5c
export const CLOSE_BRACKET: u32 = 0x5d
export const OPEN_BRACE: u32 = 0x7b
export const CLOSE_BRACE: u32 = 0x7d
