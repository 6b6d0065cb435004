/** Delimiters of tables of text: their names, and which of them a file has. */

export const DELIMITERS = { comma: ',', semicolon: ';', tab: '\t', pipe: '|' } as const
export type DelimiterName = keyof typeof DELIMITERS

/**
 * The most frequent delimiter in the first row, outside quotes; a comma if there is none.
 * @param head start of a file, without a byte order mark
 */
export function delimiterIn(head: string): string {
  const counts = new Map<string, number>(Object.values(DELIMITERS).map(delimiter => [delimiter, 0]))
  let isQuoted = false
  for (const character of head) {
    if (character === '"') isQuoted = !isQuoted
    else if (isQuoted) continue
    else if (character === '\n' || character === '\r') break
    const count = counts.get(character)
    if (count !== undefined) counts.set(character, count + 1)
  }
  return [...counts].reduce((most, next) => (next[1] > most[1] ? next : most))[0]
}
