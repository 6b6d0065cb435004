export interface JqFilter {
  readonly path?: readonly (string | number)[]
  apply(value: unknown): unknown[]
}
export function compileJq(filter: string): JqFilter | null {
  const path = filter.replace(/^\./, '').split('.').filter(Boolean)
  return {
    path,
    apply: value => [path.reduce<unknown>((v, k) => (v as Record<string, unknown> | null | undefined)?.[k], value)],
  }
}
