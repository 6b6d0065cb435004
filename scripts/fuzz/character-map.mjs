/** Builds a precompiled character map of SentencePiece: a double-array trie, then the replacements. */

/** @param rules pairs of text and replacement @returns base64 */
export function precompiledCharacterMap(rules) {
  const offsets = new Map()
  let replacements = ''
  for (const [, replacement] of rules) {
    if (offsets.has(replacement)) continue
    offsets.set(replacement, Buffer.byteLength(replacements))
    replacements += `${replacement}\0`
  }
  const root = { children: new Map(), value: undefined }
  for (const [text, replacement] of rules) {
    let node = root
    for (const byte of Buffer.from(text)) {
      if (!node.children.has(byte)) node.children.set(byte, { children: new Map(), value: undefined })
      node = node.children.get(byte)
    }
    node.value = offsets.get(replacement)
  }
  const units = [0]
  place(root, 0, units, new Set([0]))
  const trie = Buffer.alloc(units.length * 4)
  for (const [index, unit] of units.entries()) trie.writeUInt32LE((unit ?? 0) >>> 0, index * 4)
  const size = Buffer.alloc(4)
  size.writeUInt32LE(trie.length)
  return Buffer.concat([size, trie, Buffer.from(replacements)]).toString('base64')
}

/** Puts the children of the node at `index` where no other node is. */
function place(node, index, units, used) {
  const labels = [...node.children.keys()]
  if (node.value !== undefined) labels.push(0)
  let base = 256
  while (labels.some(label => used.has(base ^ label))) base += 1
  for (const label of labels) used.add(base ^ label)
  while (units.length <= (base | 255)) units.push(0)
  const hasLeaf = node.value === undefined ? 0 : 1 << 8
  units[index] = (units[index] & 0xff) | hasLeaf | ((index ^ base) << 10)
  if (node.value !== undefined) units[base] = node.value | 0x80000000
  for (const [label, child] of node.children) {
    units[base ^ label] = label
    place(child, base ^ label, units, used)
  }
}
