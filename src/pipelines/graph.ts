/** Checked pipeline -> graph: nodes in the order in which a run reports its stages, laid out in columns and rows. */
import { basename } from 'node:path'
import type { GraphEdge, GraphNode, PipelineGraph } from '../monitoring/pipeline-graph.js'
import type { CheckedChain, CheckedPipeline, CheckedStep } from './check.js'
import { fuse, namesRunBy } from './fuse.js'

/** The graph of the pipeline as run: fused steps are one node. */
export function runningGraphOf(pipeline: CheckedPipeline): PipelineGraph {
  return graphOf({ ...pipeline, chain: fuse(pipeline.chain) })
}

/** The graph of the pipeline as defined. */
export function graphOf({ name, chain }: CheckedPipeline): PipelineGraph {
  const nodes: GraphNode[] = []
  const edges: GraphEdge[] = []
  place(chain, { from: [], row: 0 }, nodes, edges)
  return { name, nodes, edges }
}

interface Placed {
  /** Nodes whose items leave the chain. */
  readonly ends: readonly number[]
  /** Number of rows used. */
  readonly rows: number
}

/** Places a chain to the right of the nodes `from`, starting at `row`. */
function place(
  chain: CheckedChain,
  { from, row }: { from: readonly number[]; row: number },
  nodes: GraphNode[],
  edges: GraphEdge[],
): Placed {
  let rows = 0
  let before = from
  const below = (branch: CheckedChain, start: readonly number[]): readonly number[] => {
    const placed = place(branch, { from: start, row: row + rows }, nodes, edges)
    rows += placed.rows
    return placed.ends
  }
  if (chain.merge.length > 0) before = chain.merge.flatMap(branch => below(branch, []))
  for (const step of chain.steps) {
    const names = namesRunBy(step)
    if (names.length === 0) continue
    const id = nodes.length
    const layer = Math.max(-1, ...before.map(node => nodes[node]!.layer)) + 1
    nodes.push({ id, name: names.join('+'), detail: detailOf(step), layer, row })
    for (const node of before) edges.push({ from: node, to: id, items: step.entry.accepts ?? '' })
    before = [id]
  }
  rows = Math.max(rows, 1)
  if (chain.fork.length > 0) {
    const start = before
    rows = 0
    before = chain.fork.flatMap(branch => below(branch, start))
  }
  return { ends: before, rows: Math.max(rows, 1) }
}

/** Base name of the file that a stage reads or writes; empty if it has none. */
function detailOf({ entry, options }: CheckedStep): string {
  const [file = options.path] = [...(entry.writes?.(options) ?? []), ...(entry.reads?.(options) ?? [])]
  return typeof file === 'string' ? basename(file) : ''
}
