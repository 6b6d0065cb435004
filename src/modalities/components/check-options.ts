/** Validates options against their schema. Errors have the place, the expected and found values and the nearest known name. */
import type * as z from 'zod'
import type { PenstockError } from '../../errors.js'
import { suggestion } from '../../formats/message-words.js'
import { EXPECTED, expectedText, objectAt } from '../../formats/option-issue.js'
import { type ConfigPath, configError } from '../yaml/config-error.js'
import type { Place, TreeNode } from '../yaml/yaml-tree.js'
import { Component, WholeFloat } from './option-types.js'

export interface OptionsContext {
  /** Owner of the options, for messages. */
  readonly name: string
  readonly file: string
  readonly path: ConfigPath
  readonly node: TreeNode
}

export interface OptionsSpec<Schema extends z.ZodObject> {
  readonly options: Schema
  readonly aliases?: Readonly<Record<string, string>> | undefined
}

/** @throws CONFIG_INVALID for the first invalid option */
export function checkOptions<Schema extends z.ZodObject>(
  raw: Readonly<Record<string, unknown>>,
  { options, aliases = {} }: OptionsSpec<Schema>,
  context: OptionsContext,
): z.output<Schema> {
  const renamed = Object.fromEntries(Object.entries(raw).map(([key, value]) => [ownValue(aliases, key) ?? key, value]))
  const parsed = options.safeParse(renamed)
  if (parsed.success) return parsed.data
  throw issueError(issueToReport(parsed.error.issues), renamed, options, context)
}

/** Unknown keys come first: a misspelt key also causes a missing one. */
function issueToReport(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue {
  return issues.find(issue => issue.code === 'unrecognized_keys') ?? issues[0]!
}

function issueError(
  issue: z.core.$ZodIssue,
  raw: unknown,
  schema: z.ZodObject,
  { name, file, path, node }: OptionsContext,
): PenstockError {
  const steps = issue.path.map(step => (typeof step === 'number' ? step : String(step)))
  const owner = objectAt(schema, steps)
  const keys = owner === undefined ? '' : keysText(owner)
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!
    const known = Object.keys(owner?.shape ?? {})
    const message = `unknown key ${key} of ${name}${suggestion(key, known)}${keys}`
    return configError(message, file, [...path, ...steps, key], placeAt(node, [...steps, key], true))
  }
  const found = steps.reduce<unknown>((value, step) => (value as Record<string, unknown> | undefined)?.[step], raw)
  const place = placeAt(node, steps, false)
  if (found === undefined && steps.length > 0) {
    const around = objectAt(schema, steps.slice(0, -1))
    const all = around === undefined ? '' : keysText(around)
    return configError(
      `${name} needs ${steps.at(-1)}: expected ${expectedText(issue)}${all}`,
      file,
      [...path, ...steps],
      place,
    )
  }
  if (issue.code === 'custom' && !issue.message.startsWith(EXPECTED)) {
    return configError(issue.message, file, [...path, ...steps], place)
  }
  const hint =
    issue.code === 'invalid_value' && typeof found === 'string' ? suggestion(found, issue.values.map(String)) : ''
  return configError(
    `expected ${expectedText(issue)}, found ${foundText(found)}${hint}`,
    file,
    [...path, ...steps],
    place,
  )
}

/** The required and optional keys of a schema, as text. */
function keysText(schema: z.ZodObject): string {
  const keys = Object.keys(schema.shape)
  const isOptional = (key: string) => (schema.shape[key] as z.ZodType).safeParse(undefined).success
  const list = (title: string, names: readonly string[]) =>
    names.length === 0 ? '' : `; ${title}: ${names.join(', ')}`
  return (
    list(
      'required',
      keys.filter(key => !isOptional(key)),
    ) + list('optional', keys.filter(isOptional))
  )
}

/** A value as text for messages. */
export function foundText(value: unknown): string {
  if (value === null || value === undefined) return 'nothing'
  if (value instanceof WholeFloat) return `${value.value}.0`
  if (value instanceof Component) return `the component ${value.componentKey}.${value.variantKey}`
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a mapping'
  return typeof value === 'string' ? `"${value.length > 60 ? `${value.slice(0, 60)}...` : value}"` : String(value)
}

/** The place of the value at a path, or of its nearest ancestor; with `ofKey`, the place of the key. */
export function placeAt(root: TreeNode, steps: readonly (string | number)[], ofKey: boolean): Place {
  let node = root
  for (const [depth, step] of steps.entries()) {
    if (ofKey && depth === steps.length - 1 && node.kind === 'map')
      return node.keyPlaces.get(String(step)) ?? node.place
    const next =
      node.kind === 'map' ? node.entries.get(String(step)) : node.kind === 'list' ? node.items[Number(step)] : undefined
    if (next === undefined) break
    node = next
  }
  return node.place
}

function ownValue(record: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined
}
