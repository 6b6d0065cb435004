/** The stages of a pipeline as a graph, drawn by `penstock graph` and by the dashboard. */

export interface GraphNode {
  /** Index in the list of stages that a run reports. */
  readonly id: number
  readonly name: string
  /** The most informative option, such as a path. */
  readonly detail: string
  /** Column, from 0: a node is to the right of all its inputs. */
  readonly layer: number
  /** Row, from 0; each branch has its own row. */
  readonly row: number
}
export interface GraphEdge {
  readonly from: number
  readonly to: number
  /** Kind of the items on this edge. */
  readonly items: string
}
export interface PipelineGraph {
  readonly name: string
  readonly nodes: readonly GraphNode[]
  readonly edges: readonly GraphEdge[]
}

/** Abbreviated name of a stage: for fused stages, the first name and the number of others. */
export function shortStageName(name: string): string {
  const [first, ...others] = name.split('+')
  return others.length === 0 ? first! : `${first} + ${others.length} more`
}
