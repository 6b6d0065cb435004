/** Finds keys that occur twice in one object of a JSON text; JSON.parse silently keeps the last. */

/** @param text valid JSON. @returns the first repeated key, unescaped; undefined if there is none */
export function duplicateKey(text: string): string | undefined {
  /** Keys of each open object; undefined for an array. */
  const open: (Set<string> | undefined)[] = []
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (char === '{') open.push(new Set())
    else if (char === '[') open.push(undefined)
    else if (char === '}' || char === ']') open.pop()
    if (char !== '"') continue
    const start = at
    for (at++; text[at] !== '"'; at++) if (text[at] === '\\') at++
    const keys = open.at(-1)
    if (keys === undefined || !isFollowedByColon(text, at + 1)) continue
    const key = JSON.parse(text.slice(start, at + 1)) as string
    if (keys.has(key)) return key
    keys.add(key)
  }
  return undefined
}

function isFollowedByColon(text: string, at: number): boolean {
  let next = at
  while (text[next] === ' ' || text[next] === '\n' || text[next] === '\r' || text[next] === '\t') next++
  return text[next] === ':'
}
