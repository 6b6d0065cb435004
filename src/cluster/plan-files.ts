/** Plan of work on whole files, such as `verify`: files are distributed over shards, and nothing is merged. */
import type { SizedFile } from './divide-sources.js'
import type { PlannedWork } from './plan-shards.js'

/**
 * @param work name and options of the work
 * @param shards how many; there are at most as many as files
 */
export function planFiles(
  name: string,
  work: Readonly<Record<string, unknown>>,
  files: readonly SizedFile[],
  shards: number,
): PlannedWork {
  const groups = balanced(files, shards)
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  return {
    plan: { version: 1, name, stages: [{ [name]: work }], outputs: [], shards: groups.length, bytes },
    tasks: groups.map((sources, shard) => ({
      shard,
      sources,
      bytes: sources.reduce((sum, file) => sum + file.bytes, 0),
    })),
  }
}

/** Consecutive groups of about equal size, none of them empty. */
function balanced(files: readonly SizedFile[], count: number): SizedFile[][] {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
  const groups: SizedFile[][] = []
  let before = 0
  for (const file of files) {
    const isFull = groups.length === 0 || before >= (total * groups.length) / count
    if (isFull && groups.length < count) groups.push([])
    groups.at(-1)!.push(file)
    before += file.bytes
  }
  return groups
}
