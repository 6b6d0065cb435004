/** Describes stages, sinks and their options as text or JSON, generated from the schemas that validate them. */
import { stringify } from 'yaml'
import type * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { suggestion } from '../../formats/message-words.js'
import { type SinkName, sinkSchemas } from '../../monitoring/options.js'
import { type StageEntry, stageRegistry } from '../../pipelines/registry.js'
import {
  exampleOf,
  exampleValue,
  type OptionSchema,
  optionAt,
  optionRows,
  optionSchema,
  typeName,
} from './option-rows.js'

/**
 * All stages, one stage with its options, or one of its options (`feed-trainer.model`).
 *
 * @throws STAGE_UNKNOWN, ARGUMENT_INVALID
 */
export function describeStages(name: string | undefined, asJson: boolean): string {
  if (name === undefined) {
    const names = Object.keys(stageRegistry)
    return asJson
      ? jsonText(names.map(stageJson))
      : `${names.map(stage => stageLine(stage, stageRegistry[stage]!)).join('\n')}\n`
  }
  const [stage, ...path] = name.split('.') as [string, ...string[]]
  const entry = findStage(stage)
  if (path.length === 0) return asJson ? jsonText(stageJson(stage)) : stageText(stage, entry)
  const schema = findOption(optionSchema(entry.options), stage, path)
  return asJson ? jsonText(schema) : optionText(stage, path, schema)
}

const jsonText = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`

const flow = ({ accepts, emits }: StageEntry): string => `${accepts ?? ''} -> ${emits ?? ''}`.trim()

const stageLine = (stage: string, entry: StageEntry): string =>
  `${stage.padEnd(18)} ${flow(entry).padEnd(22)} ${entry.summary}`

function stageJson(stage: string): object {
  const { summary, accepts, emits, options } = stageRegistry[stage]!
  return { stage, summary, accepts, emits, options: optionSchema(options) }
}

function findStage(stage: string): StageEntry {
  if (!Object.hasOwn(stageRegistry, stage)) {
    throw new PenstockError('STAGE_UNKNOWN', `unknown stage ${stage}${suggestion(stage, Object.keys(stageRegistry))}`)
  }
  return stageRegistry[stage]!
}

/** @throws ARGUMENT_INVALID */
function findOption(options: OptionSchema, stage: string, path: readonly string[]): OptionSchema {
  const found = optionAt(options, path)
  if (found !== undefined) return found
  const wanted = path.join('.')
  const names = optionRows(options).map(row => row.path.replaceAll('[]', ''))
  throw new PenstockError('ARGUMENT_INVALID', `${stage} has no option ${wanted}${suggestion(wanted, names)}`)
}

function stageText(stage: string, entry: StageEntry): string {
  const schema = optionSchema(entry.options)
  const options = exampleOf(schema)
  const example = Object.keys(options).length === 0 ? stage : { [stage]: options }
  return [stageLine(stage, entry), '', ...rowLines(schema), '', ...exampleLines([example]), ''].join('\n')
}

function optionText(stage: string, path: readonly string[], schema: OptionSchema): string {
  const example = [...path]
    .reverse()
    .reduce<unknown>((inner, name) => ({ [name]: inner }), exampleValue(schema, path.at(-1)!))
  const rows = rowLines(schema)
  return [
    `${stage}.${path.join('.')}: ${typeName(schema)}, ${schema.description}`,
    '',
    ...(rows.length === 0 ? [] : [...rows, '']),
    ...exampleLines([{ [stage]: example }]),
    '',
  ].join('\n')
}

const exampleLines = (stages: readonly unknown[]): string[] => [
  'Example:',
  ...stringify({ stages }, { lineWidth: 0 })
    .trimEnd()
    .split('\n')
    .map(line => `  ${line}`),
]

function rowLines(schema: OptionSchema): string[] {
  const rows = optionRows(schema)
  const names = Math.max(24, ...rows.map(row => row.path.length))
  return rows.map(({ path, type, description, required, fallback }) => {
    const end = required ? ' (required)' : fallback === '' ? '' : ` [${fallback}]`
    return `  ${path.padEnd(names)} ${type.padEnd(26)} ${description}${end}`.trimEnd()
  })
}

/** One line per option of a sink. */
export const optionLines = (entry: { readonly options: z.ZodType }): string[] => rowLines(optionSchema(entry.options))

/** @throws ARGUMENT_INVALID */
export function describeSinks(name: string | undefined): string {
  const names = Object.keys(sinkSchemas) as SinkName[]
  if (name !== undefined && !Object.hasOwn(sinkSchemas, name)) {
    throw new PenstockError('ARGUMENT_INVALID', `unknown sink ${name}${suggestion(name, names)}`)
  }
  const head = (sink: SinkName): string => `${sink.padEnd(12)} ${sinkSchemas[sink].description ?? ''}`
  const lines =
    name === undefined
      ? [
          'folder       folder of the run, which holds every file without an explicit path; default runs/NAME',
          ...names.map(head),
        ]
      : [head(name as SinkName), '', ...optionLines({ options: sinkSchemas[name as SinkName] })]
  return `${lines.join('\n')}\n`
}

/** The content of docs/stages.md. */
export function stageReference(): string {
  const sections = Object.entries(stageRegistry).map(([stage, entry]) => {
    const rows = optionRows(optionSchema(entry.options)).map(({ path, type, description, fallback, required }) => {
      const cells = [`\`${path}\``, type, required ? 'required' : fallback, description]
      return `| ${cells.map(cell => cell.replaceAll('\n', ' ').replaceAll('|', '\\|')).join(' | ')} |`
    })
    const table =
      rows.length === 0
        ? ['No options.']
        : ['| option | type | default | meaning |', '| --- | --- | --- | --- |', ...rows]
    return [`## ${stage}`, '', `\`${flow(entry)}\`: ${entry.summary}.`, '', ...table].join('\n')
  })
  const head =
    '# Stages\n\nGenerated from the schemas that validate the options (`node scripts/make-stage-docs.mjs`).\n\n'
  return `${head}${sections.join('\n\n')}\n`
}
