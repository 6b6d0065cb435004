/**
 * Sweeps of Modalities: expands a configuration with lists of values under `sweep` to one configuration per combination,
 * in files and folders with Modalities' names, and finds the runs that remain.
 *
 *   <output>/<time>_<hash of the sweep>/<world size>/<hash of the combination>_<time>/<name of the sweep's file>
 *
 * Hashes are computed over the YAML text that PyYAML would write, so both systems name a combination alike.
 */

import { createHash } from 'node:crypto'
import { readdir, realpath } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { PenstockError } from '../errors.js'
import { makeFolder } from '../files/durable.js'
import { readAll } from '../files/read-at.js'
import { copyOver, writeOver } from '../files/replace-file.js'
import { timestamp } from './plans/names.js'
import { configError } from './yaml/config-error.js'
import { pythonYaml } from './yaml/python-yaml.js'
import { type MapNode, parseYamlTree, pyYamlScalar, type TreeNode } from './yaml/yaml-tree.js'

const SWEEP = 'sweep'
/** Prevents a mistake in a sweep from filling the disk. */
const MAX_COMBINATIONS = 10_000

export interface SweepConfig {
  readonly hash: string
  /** The configuration with this combination under `sweep`. */
  readonly text: string
}

/** @throws CONFIG_INVALID */
export function sweepConfigs(text: string, file: string): { readonly hash: string; readonly configs: SweepConfig[] } {
  const root = parseYamlTree(text, file, pyYamlScalar)
  const sweep = root.entries.get(SWEEP)
  if (sweep?.kind !== 'map') {
    throw configError('expected a top-level mapping named sweep', file, [SWEEP], (sweep ?? root).place)
  }
  const others = [...root.entries].filter(([key]) => key !== SWEEP)
  const configs = alternatives(sweep, file).map(combination => ({
    hash: hashOf(combination as MapNode),
    text: pythonYaml({ ...root, entries: new Map([[SWEEP, combination], ...others]) }, { sortKeys: false }),
  }))
  return { hash: hashOf(root), configs }
}

/** Expands a node of a sweep: each item of a list, and each combination of the values of a mapping. */
function alternatives(node: TreeNode, file: string): TreeNode[] {
  if (node.kind === 'scalar') return [node]
  if (node.kind === 'list') return [...node.items]
  if (node.entries.size === 0) throw configError('empty mapping: expected at least one key', file, [SWEEP], node.place)
  let combinations: [string, TreeNode][][] = [[]]
  for (const [key, value] of node.entries) {
    const choices = alternatives(value, file)
    if (combinations.length * choices.length > MAX_COMBINATIONS) {
      throw configError(`more than ${MAX_COMBINATIONS} combinations`, file, [SWEEP, key], node.place)
    }
    combinations = combinations.flatMap(chosen =>
      choices.map(choice => [...chosen, [key, choice] as [string, TreeNode]]),
    )
  }
  return combinations.map(entries => ({ ...node, entries: new Map(entries) }))
}

function hashOf(tree: MapNode): string {
  return createHash('md5')
    .update(pythonYaml(tree, { sortKeys: false }))
    .digest('hex')
    .slice(0, 16)
}

/**
 * Writes the configurations of a sweep, once for each world size.
 * @returns the paths of the configurations
 * @throws FILE_MISSING, CONFIG_INVALID before anything is written
 */
export async function prepareSweep(
  path: string,
  outputFolder: string,
  worldSizes: readonly number[],
): Promise<readonly string[]> {
  const text = await readAll(path).catch(error => {
    throw new PenstockError('FILE_MISSING', `cannot read the sweep: ${(error as Error).message}`, { file: path }, error)
  })
  const { hash, configs } = sweepConfigs(text.toString(), path)
  const time = timestamp(new Date())
  const paths: string[] = []
  for (const config of configs) {
    for (const worldSize of worldSizes) {
      const folder = join(outputFolder, `${time}_${hash}`, String(worldSize), `${config.hash}_${time}`)
      await makeFolder(folder)
      await writeOver(join(folder, basename(path)), config.text)
      paths.push(join(folder, basename(path)))
    }
  }
  return paths
}

export interface RemainingOptions {
  /** Restricts the list to configurations for this world size. */
  readonly worldSize?: number | undefined
  /** Number of lines in `evaluation_results.jsonl` of a completed run. */
  readonly expectedSteps: number
  /** Error types after which a run is not retried. */
  readonly skippedErrors: readonly string[]
  /** If some runs have completed, copies the remaining configurations to new folders. */
  readonly newFolders: boolean
}

export interface SweepStatus {
  /** All configurations, including those of earlier attempts. */
  readonly all: readonly string[]
  readonly remaining: readonly string[]
}

/**
 * Finds the configurations of a sweep that remain to be run: those without complete results in their latest folder.
 * @throws CONFIG_INVALID for a folder whose name does not have the form of a sweep's folders
 */
export async function remainingRuns(root: string, options: RemainingOptions): Promise<SweepStatus> {
  const all = await sweepFiles(await realpath(root), options.worldSize)
  const remaining: string[] = []
  for (const path of latestOf(all)) if (!(await isDone(path, options))) remaining.push(path)
  if (!options.newFolders || remaining.length === all.length) return { all, remaining }
  return { all, remaining: await Promise.all(remaining.map(copyToNewFolder)) }
}

/** Paths of configurations that end in `<world size>/<folder>/<name>.yaml`. */
async function sweepFiles(root: string, worldSize: number | undefined): Promise<string[]> {
  const entries = await readdir(root, { withFileTypes: true, recursive: true })
  return entries
    .filter(entry => entry.isFile() && entry.name.endsWith('.yaml') && !entry.name.endsWith('.resolved.yaml'))
    .map(entry => join(entry.parentPath ?? entry.path, entry.name))
    .filter(path => {
      const folders = path.slice(root.length + 1).split(/[\\/]/)
      return folders.length >= 3 && (worldSize === undefined || folders.at(-3) === String(worldSize))
    })
    .sort()
}

const RUN_FOLDER = /^([a-zA-Z0-9]+)_(\d{4}-\d{2}-\d{2}__\d{2}-\d{2}-\d{2})$/

/** Keeps the newest of the folders that differ only in their timestamp. */
function latestOf(paths: readonly string[]): string[] {
  const latest = new Map<string, { readonly path: string; readonly time: string }>()
  for (const path of paths) {
    const [, hash, time] = RUN_FOLDER.exec(basename(dirname(path))) ?? []
    if (hash === undefined || time === undefined) {
      const message = `expected a folder <hash>_YYYY-MM-DD__HH-MM-SS, found ${basename(dirname(path))}`
      throw new PenstockError('CONFIG_INVALID', message, { file: path })
    }
    const run = join(dirname(dirname(path)), hash)
    const known = latest.get(run)
    if (known === undefined || time > known.time) latest.set(run, { path, time })
  }
  return [...latest.values()].map(({ path }) => path)
}

async function isDone(path: string, { expectedSteps, skippedErrors }: RemainingOptions): Promise<boolean> {
  const folder = dirname(path)
  const results = (await readAll(join(folder, 'evaluation_results.jsonl')).catch(() => undefined))?.toString()
  if (results !== undefined && results.split('\n').filter(line => line !== '').length === expectedSteps) return true
  const names = await readdir(folder, { recursive: true })
  const logs = names.filter(name => /^error_logs_.*\.log$/.test(basename(name)))
  const errors = await Promise.all(logs.map(name => errorTypeIn(join(folder, name))))
  return errors.some(error => skippedErrors.includes(error))
}

async function errorTypeIn(log: string): Promise<string> {
  try {
    const { error } = JSON.parse((await readAll(log)).toString()) as { error: { type: string } }
    return error.type
  } catch {
    // Modalities' name for a log that cannot be parsed.
    return 'ErrorFileParsingError'
  }
}

/** Copies a configuration to a folder with the same hash and the current time. */
async function copyToNewFolder(path: string): Promise<string> {
  const old = dirname(path)
  const folder = join(dirname(old), `${basename(old).split('_')[0]}_${timestamp(new Date())}`)
  await makeFolder(folder)
  const copy = join(folder, basename(path))
  await copyOver(path, copy)
  return copy
}
