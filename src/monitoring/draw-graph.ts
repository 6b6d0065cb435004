/** Renders pipeline graphs as SVG, with light and dark colours, and as Mermaid for Markdown documents. */
import type { GraphNode, PipelineGraph } from './pipeline-graph.js'

const BOX_WIDTH = 168
const BOX_HEIGHT = 52
const COLUMN = BOX_WIDTH + 96
const ROW = BOX_HEIGHT + 28
const MARGIN = 16
const TITLE = 36
const SHOWN_DETAIL = 24

const STYLE = `
  text { font: 14px system-ui, sans-serif; fill: #1c2430; }
  .title { font-weight: 600; font-size: 16px; } .detail, .items { font-size: 12px; fill: #566072; } .items { text-anchor: end; }
  rect { fill: #f4f6fa; stroke: #8a96a8; } path { fill: none; stroke: #8a96a8; stroke-width: 1.5; } .head { fill: #8a96a8; stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e8ecf2; } .detail, .items { fill: #a5b0c0; } rect { fill: #1f2733; stroke: #6c788a; }
  }`

export function graphsToSvg(graphs: readonly PipelineGraph[]): string {
  let top = 0
  let width = 0
  const parts: string[] = []
  for (const graph of graphs) {
    parts.push(`<g transform="translate(0 ${top})">${pipelineSvg(graph)}</g>`)
    top += TITLE + extent(graph.nodes, node => node.row) * ROW + MARGIN
    width = Math.max(width, MARGIN * 2 + (extent(graph.nodes, node => node.layer) - 1) * COLUMN + BOX_WIDTH)
  }
  const marker =
    '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top}" viewBox="0 0 ${width} ${top}">`,
    `<style>${STYLE}</style>`,
    `<defs>${marker}<path class="head" d="M0 0 8 4 0 8Z"/></marker></defs>`,
    ...parts,
    '</svg>\n',
  ].join('\n')
}

/** A Mermaid flow chart, which GitHub and many editors render. */
export function graphsToMermaid(graphs: readonly PipelineGraph[]): string {
  const lines = graphs.flatMap((graph, number) => {
    const id = (node: number): string => `p${number}n${node}`
    return [
      `  subgraph p${number} [${mermaidText(graph.name)}]`,
      ...graph.nodes.map(({ id: node, name, detail }) => {
        const label = detail === '' ? name : `${name}<br/>${escapeXml(detail)}`
        return `    ${id(node)}["${label.replaceAll('"', '#quot;')}"]`
      }),
      ...graph.edges.map(({ from, to, items }) => `    ${id(from)} -->|${items}| ${id(to)}`),
      '  end',
    ]
  })
  return `flowchart LR\n${lines.join('\n')}\n`
}

function pipelineSvg({ name, nodes, edges }: PipelineGraph): string {
  const left = (node: GraphNode): number => MARGIN + node.layer * COLUMN
  const top = (node: GraphNode): number => TITLE + node.row * ROW
  const boxes = nodes.map(node => {
    const detail = shortened(node.detail)
    const nameY = top(node) + (detail === '' ? 31 : 23)
    const second = detail === '' ? '' : text('detail', left(node) + 12, nameY + 18, detail)
    const box = `<rect x="${left(node)}" y="${top(node)}" width="${BOX_WIDTH}" height="${BOX_HEIGHT}" rx="6"/>`
    return `${box}${text('name', left(node) + 12, nameY, node.name)}${second}`
  })
  const arrows = edges.map(({ from, to, items }) => {
    const [start, end] = [nodes[from]!, nodes[to]!]
    const [x1, y1] = [left(start) + BOX_WIDTH, top(start) + BOX_HEIGHT / 2]
    const [x2, y2] = [left(end) - 2, top(end) + BOX_HEIGHT / 2]
    const middle = x2 - 48
    const line = `<path d="M${x1} ${y1}H${middle - 40}C${middle - 10} ${y1} ${middle - 30} ${y2} ${middle} ${y2}H${x2}" marker-end="url(#arrow)"/>`
    return `${line}${text('items', x2 - 12, y2 - 7, items)}`
  })
  return `${text('title', MARGIN, 22, name)}${arrows.join('')}${boxes.join('')}`
}

const extent = (nodes: readonly GraphNode[], of: (node: GraphNode) => number): number => Math.max(...nodes.map(of)) + 1

const text = (kind: string, x: number, y: number, content: string): string =>
  `<text class="${kind}" x="${x}" y="${y}">${escapeXml(content)}</text>`

const shortened = (detail: string): string =>
  detail.length <= SHOWN_DETAIL ? detail : `${detail.slice(0, SHOWN_DETAIL - 1)}…`

const mermaidText = (content: string): string => `"${escapeXml(content).replaceAll('"', '#quot;')}"`

function escapeXml(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
