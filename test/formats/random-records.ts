/** Records for fuzzing: valid JSON, invalid JSON, and valid JSON with some bytes changed. */
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** A small deterministic generator, so that failures are reproducible. */
export function randomFrom(seed: number): (limit: number) => number {
  let state = seed
  return limit => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

const ATOMS = [
  ...[
    '{',
    '}',
    '[',
    ']',
    ':',
    ',',
    '"',
    '"a"',
    '"text"',
    String.raw`"te\u0078t"`,
    String.raw`"\ud83d\ude00"`,
    String.raw`"\ud83d"`,
  ],
  ...[
    '"\\u00e9é漢😀"',
    '1',
    '0',
    '-0',
    '-',
    '01',
    '1.5',
    '1.',
    '1e5',
    '1E+',
    '1e-3',
    '.5',
    'true',
    'false',
    'null',
    'nul',
    ' ',
    '\t',
    '\r',
  ],
  ...[
    '"\\x"',
    '"\\u12g4"',
    String.raw`"\n\t\"\\"`,
    '"a\tb"',
    '\u00a0',
    '\ufeff',
    '1.0e+10',
    '""',
    '{"text":"abc\\ndef"}',
    '1e',
    '+1',
    'NaN',
  ],
  ...[
    `"${'x'.repeat(15)}"`,
    `"${'y'.repeat(16)}\\n"`,
    `"${'z'.repeat(33)}\\\\"`,
    '"\u007f"',
    "'a'",
    '//',
    '"\\/"',
    '"\\b\\f"',
    'Infinity',
  ],
]

export function randomRecord(random: (limit: number) => number): Uint8Array {
  const kind = random(10)
  if (kind < 4) return bytesOf(randomJson(random, 0))
  if (kind < 6) return bytesOf(Array.from({ length: 1 + random(7) }, () => ATOMS[random(ATOMS.length)]!).join(''))
  let line = bytesOf(randomJson(random, 0))
  for (let changes = 1 + random(3); changes > 0 && line.length > 0; changes--) {
    const at = random(line.length)
    const inserted = random(3) === 0 ? [] : [random(256)]
    line = Uint8Array.from([...line.subarray(0, at), ...inserted, ...line.subarray(at + random(2))])
  }
  return line.filter(byte => byte !== 10)
}

function randomJson(random: (limit: number) => number, depth: number): string {
  const kind = random(depth > 4 ? 4 : 8)
  const list = (item: () => string): string =>
    Array.from({ length: random(4) }, item).join(random(30) === 0 ? ' ' : ', ')
  if (kind === 0) return String(random(1000) - 500)
  if (kind === 1) return ATOMS[random(ATOMS.length)]!
  if (kind === 2) {
    const units = Array.from({ length: random(40) }, () => (random(5) > 0 ? 32 + random(90) : random(0x3000)))
    return JSON.stringify(String.fromCharCode(...units))
  }
  if (kind === 3) return ['true', 'false', 'null', '1.5e-7', '-0.0'][random(5)]!
  if (kind === 4) return `[${list(() => randomJson(random, depth + 1))}]`
  const key = (): string => ['"text"', '"a"', '"te\\u0078t"', JSON.stringify(`k${random(9)}`)][random(4)]!
  return `{${list(() => `${key()}${random(50) > 0 ? ':' : ' '}${randomJson(random, depth + 1)}`)}}`
}
