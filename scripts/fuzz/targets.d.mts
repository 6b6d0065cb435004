export interface FuzzTarget {
  readonly sample: Uint8Array
  parse(bytes: Uint8Array): unknown
}
export function targets(samples: { sentencePiece: Uint8Array }): Record<string, FuzzTarget>
export function mutated(sample: Uint8Array, random: () => number): Uint8Array
