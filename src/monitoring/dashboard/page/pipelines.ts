/** Pipelines of a run, each as a line that unfolds to a graph: the state and rate of each stage, and the bottleneck. */
import type { StageFlow } from '../../flow.js'
import { type GraphNode, type PipelineGraph, shortStageName } from '../../pipeline-graph.js'
import type { StageCounts } from '../../run-event.js'
import type { PipelineState, RunSummary } from '../run-history.js'
import { drawing, element } from './dom.js'
import { totalStepsOf, trains } from './figures.js'
import { bytes, compact, duration, whole } from './numbers.js'

const BOX_WIDTH = 176
const BOX_HEIGHT = 84
const COLUMN = BOX_WIDTH + 92
const GAP = 24
const ROW = BOX_HEIGHT + GAP
const MARGIN = 14
const SHOWN_DETAIL = 22
/** A stage counts as waiting if it waits for more than this fraction of the time. */
const MOSTLY_WAITING = 0.5

/** Pipelines that the user opened or closed, by title; the others are open while they run without a training. */
const chosen = new Map<string, boolean>()

/** @param named whether titles include the name of the run */
export function drawPipelines(run: RunSummary, named: boolean): HTMLElement[] {
  return run.info.pipelines.map(graph => {
    const title = named ? `${run.info.name}: ${graph.name}` : graph.name
    return drawPipeline(graph, title, run)
  })
}

/** One line with the state of a pipeline, which unfolds to its graph. */
function drawPipeline(graph: PipelineGraph, title: string, run: RunSummary): HTMLElement {
  const state = run.pipelines[graph.name]
  const summary = element(
    'summary',
    {},
    element('span', { class: 'title' }, title),
    element('span', { class: `state ${state?.outcome ?? ''}` }, stateText(state, run)),
    element('span', { class: 'facts' }, facts(state, run)),
  )
  const folder = element('details', { class: 'pipeline' }, summary)
  folder.open = chosen.get(title) ?? (state?.outcome === 'running' && !trains(run))
  // Drawn only when it can be seen.
  const draw = () => {
    if (folder.open && folder.children.length === 1) folder.append(graphBox(graph, state))
  }
  draw()
  summary.addEventListener('click', () => chosen.set(title, !folder.open))
  folder.addEventListener('toggle', draw)
  return folder
}

function stateText(state: PipelineState | undefined, { outcome }: RunSummary): string {
  if (state !== undefined) return state.outcome
  if (outcome === 'running') return 'waiting'
  return outcome === 'done' ? 'nothing to do' : 'not started'
}

/** Time, amounts, and the bottleneck of a running pipeline. */
function facts(state: PipelineState | undefined, run: RunSummary): string {
  if (state === undefined) return ''
  const { stages, elapsedMs } = state.snapshot
  const largest = (of: (stats: StageCounts) => number): number => Math.max(...stages.map(({ stats }) => of(stats)))
  const isTraining = stages.some(({ name }) => name === 'feed-trainer')
  const total = totalStepsOf(run)
  const records = largest(({ recordsIn, recordsOut }) => Math.max(recordsIn, recordsOut))
  const read = largest(({ itemsIn, bytesOut }) => (itemsIn === 0 ? bytesOut : 0))
  const rejected = stages.reduce((sum, { stats }) => sum + stats.rejected, 0)
  const slowest = state.outcome === 'running' ? state.flows.find(flow => flow.slowest) : undefined
  const parts = [
    duration(elapsedMs),
    isTraining && total !== undefined ? `step ${whole(run.lastStep)} of ${whole(total)}` : '',
    isTraining || records === 0 ? '' : `${whole(records)} records`,
    isTraining || read === 0 ? '' : bytes(read),
    rejected === 0 ? '' : `${whole(rejected)} rejected`,
    slowest === undefined ? '' : `bottleneck: ${shortStageName(slowest.name)}`,
  ]
  return parts.filter(part => part !== '').join(' · ')
}

function graphBox(graph: PipelineGraph, state: PipelineState | undefined): HTMLElement {
  const width = 2 * MARGIN + Math.max(...graph.nodes.map(node => node.layer)) * COLUMN + BOX_WIDTH
  const height = (Math.max(...graph.nodes.map(node => node.row)) + 1) * ROW - GAP + 2 * MARGIN
  const svg = drawing('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'img' })
  svg.setAttribute('aria-label', description(graph, state))
  for (const { from, to, items } of graph.edges) {
    svg.append(edge(graph.nodes[from]!, graph.nodes[to]!, items, state))
  }
  for (const node of graph.nodes) svg.append(box(node, state))
  return element('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': `pipeline ${graph.name}` }, svg)
}

const left = (node: GraphNode): number => MARGIN + node.layer * COLUMN
const top = (node: GraphNode): number => MARGIN + node.row * ROW

/** A thick line marks an edge with queued items. */
function edge(from: GraphNode, to: GraphNode, items: string, state: PipelineState | undefined): SVGElement {
  const [x1, y1] = [left(from) + BOX_WIDTH, top(from) + BOX_HEIGHT / 2]
  const [x2, y2] = [left(to) - 1, top(to) + BOX_HEIGHT / 2]
  const bend = x2 - 44
  const flow = state?.outcome === 'running' ? state.flows[from.id] : undefined
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
  const stats = state?.snapshot.stages[node.id]?.stats
  const flow = state?.flows[node.id]
  const isRunning = state?.outcome === 'running'
  const [x, y] = [left(node), top(node)]
  const group = drawing('g', { class: isRunning && flow?.slowest ? 'slowest' : 'stage' })
  const line = (kind: string, row: number, text: string): void =>
    void group.append(drawing('text', { class: kind, x: x + 10, y: y + row }, text))
  group.append(drawing('rect', { class: 'box', x, y, width: BOX_WIDTH, height: BOX_HEIGHT, rx: 6 }))
  group.append(drawing('title', {}, node.name.split('+').join(', ')))
  line('name', 19, shortStageName(node.name))
  line('quiet', 35, node.detail.length <= SHOWN_DETAIL ? node.detail : `${node.detail.slice(0, SHOWN_DETAIL - 1)}…`)
  if (state === undefined || flow === undefined || stats === undefined) return group
  const records = Math.max(stats.recordsIn, stats.recordsOut)
  const moved = Math.max(stats.bytesIn, stats.bytesOut)
  const rate = records > 0 ? `${compact(flow.recordsPerSecond)}/s` : `${bytes(flow.bytesPerSecond)}/s`
  line('quiet', 52, `${records > 0 ? compact(records) : bytes(moved)}${isRunning && !flow.ended ? `, ${rate}` : ''}`)
  const rejected = stats.rejected > 0 ? `, ${compact(stats.rejected)} rejected` : ''
  line('quiet state', 68, activity(flow, state.outcome) + rejected)
  if (!isRunning) return group
  group.append(drawing('rect', { class: 'track', x: x + 10, y: y + 74, width: BOX_WIDTH - 20, height: 4, rx: 2 }))
  group.append(
    drawing('rect', { class: 'busy', x: x + 10, y: y + 74, width: (BOX_WIDTH - 20) * flow.busy, height: 4, rx: 2 }),
  )
  return group
}

function activity(flow: StageFlow, outcome: PipelineState['outcome']): string {
  if (outcome !== 'running') return flow.ended ? 'done' : outcome
  if (flow.ended) return 'done'
  if (flow.slowest) return `bottleneck, busy ${percent(flow.busy)}`
  if (flow.waitingForOutput > MOSTLY_WAITING) return 'waiting for output'
  if (flow.waitingForInput > MOSTLY_WAITING) return 'waiting for input'
  return `busy ${percent(flow.busy)}`
}

function description({ name, nodes }: PipelineGraph, state: PipelineState | undefined): string {
  const slowest = state?.outcome === 'running' ? state.flows.find(flow => flow.slowest) : undefined
  const stages = nodes.map(node => node.name).join(', ')
  return `${name}: ${stages}${slowest === undefined ? '' : `; bottleneck: ${slowest.name}`}`
}

const percent = (share: number): string => `${Math.round(100 * share)} %`
