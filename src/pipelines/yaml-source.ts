/**
 * YAML text -> plain values, with the line and column of every node for error messages. In addition to the bounds of
 * `yaml-document.ts`, the number of aliases is bounded, merge keys are not resolved, and no key can set a prototype.
 */
import { isMap, isNode, isPair, isScalar, isSeq, type Node } from 'yaml'
import { PenstockError } from '../errors.js'
import { parseYamlDocument } from './yaml-document.js'

const MAX_ALIASES = 100

export type YamlPath = readonly (string | number)[]

export interface YamlSource {
  readonly file: string
  readonly value: unknown
  /** Line and column, 1-based, of the node at a path or its nearest ancestor; `ofKey` selects the key instead of the value. */
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

/** The node at a path, or its nearest ancestor. */
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
