import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { graphsToMermaid, graphsToSvg } from '#src/monitoring/draw-graph'
import type { PipelineGraph } from '#src/monitoring/pipeline-graph'

const hostile: PipelineGraph = {
  name: 'a "b" <script>',
  nodes: [
    { id: 0, name: 'read-file', detail: '<img src=x>&"\'.jsonl', layer: 0, row: 0 },
    { id: 1, name: 'write-index', detail: '', layer: 1, row: 0 },
  ],
  edges: [{ from: 0, to: 1, items: 'bytes' }],
}

describe('pipeline graphs', () => {
  it('are well-formed XML as SVG, even with markup in file names', () => {
    const svg = graphsToSvg([hostile, hostile])
    const parse =
      'import sys, xml.dom.minidom as m; d = m.parseString(sys.stdin.buffer.read()); print([t.firstChild.data for t in d.getElementsByTagName("text")][:2])'
    const texts = execFileSync('python3', ['-c', parse], { input: svg, encoding: 'utf8' })
    expect(texts).toContain('a "b" <script>')
  })

  it('have one node per stage and item types on the edges as Mermaid', () => {
    const text = graphsToMermaid([hostile])
    expect(text).toContain('p0n0 -->|bytes| p0n1')
    expect(text).not.toContain('<script')
    expect(text).not.toContain('<img')
  })
})
