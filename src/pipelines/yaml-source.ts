/**
 * YAML text -> plain values, with the line and column of every node for messages. Beside the bounds of `yaml-document.ts`,
 * aliases are bounded, merge keys are not resolved, and no key touches a prototype.
 */
import { isMap, isNode, isPair, isScalar, isSeq, type Node } from 'yaml'
import { PenstockError } from '../errors.js'
import { parseYamlDocument } from './yaml-document.js'

const MAX_ALIASES = 100

export type YamlPath = readonly (string | number)[]

export interface YamlSource {
  readonly file: string
  readonly value: unknown
  /** Line and column, from 1, of the node at a path, or of the nearest one around it; `ofKey` means the key itself. */
  placeOf(path: YamlPath, ofKey?: boolean): { line: number; column: number }
}

/** @throws CONFIG_INVALID with line and column */
export function parseYaml(text: string, file: string): YamlSource {
  const { document, placeOf } = parseYamlDocument(text, file, 'core')
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES })
  } catch (cause) {
    throw new PenstockError('CONFIG_INVALID', (cause as Error).message, { file }, cause)
  }
  const root = document.contents
  return {
    file,
    value,
    placeOf: (path, ofKey = false) => placeOf(nodeAt(root, path, ofKey)),
  }
}

/** The node at a path, or the nearest one around it. */
function nodeAt(root: Node | null, path: YamlPath, ofKey: boolean): Node | null {
  let node = root
  let nearest = root
  for (const [depth, key] of path.entries()) {
    let next: unknown
    if (isSeq(node)) {
      next = node.items[Number(key)]
    } else if (isMap(node)) {
      const pair = node.items.find(item => isPair(item) && isScalar(item.key) && item.key.value === key)
      if (isPair(pair) && isNode(pair.key)) nearest = pair.key
      if (ofKey && depth === path.length - 1) return nearest
      next = pair?.value
    }
    if (!isNode(next)) return nearest
    nearest = next.range ? next : nearest
    node = next
  }
  return nearest
}
