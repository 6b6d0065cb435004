/** Draws the pipelines of a run as graphs: the state and rate of each stage, and the bottleneck. */
import type { StageFlow } from '../../flow.js'
import { type GraphNode, type PipelineGraph, shortStageName } from '../../pipeline-graph.js'
import type { PipelineState, RunSummary } from '../run-history.js'
import { drawing, element } from './dom.js'
import { bytes, compact, duration } from './numbers.js'

const BOX_WIDTH = 176
const BOX_HEIGHT = 84
const COLUMN = BOX_WIDTH + 92
const GAP = 24
const ROW = BOX_HEIGHT + GAP
const MARGIN = 14
const TITLE = 30
const SHOWN_DETAIL = 22
/** A stage counts as waiting if it waits for more than this fraction of the time. */
const MOSTLY_WAITING = 0.5

/** @param named whether titles include the name of the run */
export function drawPipelines({ info, pipelines }: RunSummary, named: boolean): HTMLElement[] {
  return info.pipelines.map(graph => {
    const title = named ? `${info.name}: ${graph.name}` : graph.name
    return drawPipeline(graph, title, pipelines[graph.name])
  })
}

function drawPipeline(graph: PipelineGraph, title: string, state: PipelineState | undefined): HTMLElement {
  const width = 2 * MARGIN + Math.max(...graph.nodes.map(node => node.layer)) * COLUMN + BOX_WIDTH
  const height = TITLE + (Math.max(...graph.nodes.map(node => node.row)) + 1) * ROW - GAP + MARGIN
  const time = state === undefined ? 'not started' : duration(state.snapshot.elapsedMs)
  const svg = drawing('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'img' })
  svg.setAttribute('aria-label', description(graph, state))
  const heading = drawing('text', { class: 'title', x: MARGIN, y: 20 }, title)
  heading.append(drawing('tspan', { class: 'quiet', dx: 12 }, time))
  svg.append(heading)
  for (const { from, to, items } of graph.edges)
    svg.append(edge(graph.nodes[from]!, graph.nodes[to]!, items, state?.flows[from]))
  for (const node of graph.nodes) svg.append(box(node, state))
  return element(
    'div',
    { class: 'pipeline scroll', tabindex: 0, role: 'group', 'aria-label': `pipeline ${graph.name}` },
    svg,
  )
}

const left = (node: GraphNode): number => MARGIN + node.layer * COLUMN
const top = (node: GraphNode): number => TITLE + node.row * ROW

/** A thick line marks an edge with queued items. */
function edge(from: GraphNode, to: GraphNode, items: string, flow: StageFlow | undefined): SVGElement {
  const [x1, y1] = [left(from) + BOX_WIDTH, top(from) + BOX_HEIGHT / 2]
  const [x2, y2] = [left(to) - 1, top(to) + BOX_HEIGHT / 2]
  const bend = x2 - 44
  const full = flow !== undefined && !flow.ended && flow.waitingForOutput > MOSTLY_WAITING
  return drawing(
    'g',
    {},
    drawing('path', {
      class: full ? 'edge full' : 'edge',
      d: `M${x1} ${y1}H${bend - 40}C${bend - 10} ${y1} ${bend - 30} ${y2} ${bend} ${y2}H${x2 - 7}`,
    }),
    drawing('path', { class: 'head', d: `M${x2 - 8} ${y2 - 5}L${x2} ${y2}L${x2 - 8} ${y2 + 5}Z` }),
    drawing('text', { class: 'quiet items', x: x2 - 12, y: y2 - 8 }, items),
  )
}

function box(node: GraphNode, state: PipelineState | undefined): SVGElement {
  const flow = state?.flows[node.id]
  const stats = state?.snapshot.stages[node.id]?.stats
  const [x, y] = [left(node), top(node)]
  const group = drawing('g', { class: flow?.slowest ? 'slowest' : 'stage' })
  const line = (kind: string, row: number, text: string): void =>
    void group.append(drawing('text', { class: kind, x: x + 10, y: y + row }, text))
  group.append(drawing('rect', { class: 'box', x, y, width: BOX_WIDTH, height: BOX_HEIGHT, rx: 6 }))
  group.append(drawing('title', {}, node.name.split('+').join(', ')))
  line('name', 19, shortStageName(node.name))
  line('quiet', 35, node.detail.length <= SHOWN_DETAIL ? node.detail : `${node.detail.slice(0, SHOWN_DETAIL - 1)}…`)
  if (flow === undefined || stats === undefined) return group
  const records = Math.max(stats.recordsIn, stats.recordsOut)
  const moved = Math.max(stats.bytesIn, stats.bytesOut)
  const rate = records > 0 ? `${compact(flow.recordsPerSecond)}/s` : `${bytes(flow.bytesPerSecond)}/s`
  line('quiet', 52, `${records > 0 ? compact(records) : bytes(moved)}${flow.ended ? '' : `, ${rate}`}`)
  line('quiet state', 68, activity(flow) + (stats.rejected > 0 ? `, ${compact(stats.rejected)} rejected` : ''))
  group.append(drawing('rect', { class: 'track', x: x + 10, y: y + 74, width: BOX_WIDTH - 20, height: 4, rx: 2 }))
  group.append(
    drawing('rect', { class: 'busy', x: x + 10, y: y + 74, width: (BOX_WIDTH - 20) * flow.busy, height: 4, rx: 2 }),
  )
  return group
}

function activity(flow: StageFlow): string {
  if (flow.ended) return 'done'
  if (flow.slowest) return 'bottleneck'
  if (flow.waitingForOutput > MOSTLY_WAITING) return 'waiting for output'
  if (flow.waitingForInput > MOSTLY_WAITING) return 'waiting for input'
  return `busy ${percent(flow.busy)}`
}

function description({ name, nodes }: PipelineGraph, state: PipelineState | undefined): string {
  const slowest = state?.flows.find(flow => flow.slowest)
  const stages = nodes.map(node => node.name).join(', ')
  return `${name}: ${stages}${slowest === undefined ? '' : `; bottleneck: ${slowest.name}`}`
}

const percent = (share: number): string => `${Math.round(100 * share)} %`
