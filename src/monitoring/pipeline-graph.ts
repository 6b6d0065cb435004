/** The stages of a pipeline as a graph: what is drawn by `penstock graph` and on the page. */

export interface GraphNode {
  /** The position in the list of stages that a run reports. */
  readonly id: number
  readonly name: string
  /** The option that tells most, such as a path. */
  readonly detail: string
  /** Column, from 0: a node stands right of all that it reads from. */
  readonly layer: number
  /** Row, from 0; branches have rows of their own. */
  readonly row: number
}
export interface GraphEdge {
  readonly from: number
  readonly to: number
  /** The kind of item that travels. */
  readonly items: string
}
export interface PipelineGraph {
  readonly name: string
  readonly nodes: readonly GraphNode[]
  readonly edges: readonly GraphEdge[]
}

/** The name of a stage where there is little room: of several that run as one, the first and how many follow. */
export function shortStageName(name: string): string {
  const [first, ...others] = name.split('+')
  return others.length === 0 ? first! : `${first} + ${others.length} more`
}
