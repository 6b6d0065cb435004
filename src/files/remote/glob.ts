/** Glob patterns over the names of remote files, with the meaning that tinyglobby gives them for local ones. */
import picomatch from 'picomatch'

/** The part of a pattern before its first special character: all matches begin with it. */
export function prefixOf(pattern: string): string {
  const at = pattern.search(/[*?[{]/)
  return at < 0 ? pattern : pattern.slice(0, at)
}

export const globMatcher = (pattern: string): ((path: string) => boolean) => picomatch(pattern)
