/** Describes stages, sinks and their options as text or JSON, generated from the schemas that validate them. */
import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { suggestion } from '../../formats/suggest.js'
import { type SinkName, sinkSchemas } from '../../monitoring/options.js'
import { type StageEntry, stageRegistry } from '../../pipelines/registry.js'

interface OptionSchema {
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly OptionSchema[]
  readonly const?: unknown
  readonly default?: unknown
  readonly description?: string
}

/** @throws STAGE_UNKNOWN */
export function describeStages(name: string | undefined, asJson: boolean): string {
  const names = Object.keys(stageRegistry)
  if (name !== undefined && !Object.hasOwn(stageRegistry, name)) {
    throw new PenstockError('STAGE_UNKNOWN', `unknown stage ${name}${suggestion(name, names)}`)
  }
  const chosen = name === undefined ? names : [name]
  if (asJson) {
    const all = chosen.map(stage => {
      const { summary, accepts, emits, options } = stageRegistry[stage]!
      return { stage, summary, accepts, emits, options: z.toJSONSchema(options, { io: 'input' }) }
    })
    return `${JSON.stringify(name === undefined ? all : all[0], null, 2)}\n`
  }
  const lines = chosen.flatMap(stage => {
    const entry = stageRegistry[stage]!
    const head = `${stage.padEnd(18)} ${flow(entry).padEnd(22)} ${entry.summary}`
    return name === undefined ? [head] : [head, '', ...optionLines(entry)]
  })
  return `${lines.join('\n')}\n`
}

const flow = ({ accepts, emits }: StageEntry): string => `${accepts ?? ''} -> ${emits ?? ''}`.trim()

interface OptionRow {
  readonly name: string
  readonly type: string
  readonly description: string
  readonly required: boolean
  /** The default as JSON; empty if there is none. */
  readonly fallback: string
}

function optionRows(entry: Pick<StageEntry, 'options'>): OptionRow[] {
  const schema = z.toJSONSchema(entry.options, { io: 'input' }) as {
    properties?: Record<string, OptionSchema>
    required?: readonly string[]
  }
  return Object.entries(schema.properties ?? {}).map(([name, details]) => ({
    name,
    type: typeName(details),
    description: details.description ?? '',
    required: schema.required?.includes(name) ?? false,
    fallback: details.default === undefined ? '' : JSON.stringify(details.default),
  }))
}

/** One line per option of a stage or sink. */
export function optionLines(entry: Pick<StageEntry, 'options'>): string[] {
  return optionRows(entry).map(({ name, type, description, required, fallback }) => {
    const end = required ? ' (required)' : fallback === '' ? '' : ` [${fallback}]`
    return `  ${name.padEnd(24)} ${type.padEnd(26)} ${description}${end}`.trimEnd()
  })
}

function typeName(schema: OptionSchema): string {
  if (schema.enum !== undefined) return schema.enum.join(' | ')
  if (schema.const !== undefined) return String(schema.const)
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeName).join(' | ')
  return schema.type ?? 'any'
}

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
    const rows = optionRows(entry).map(({ name, type, description, fallback, required }) => {
      const cells = [`\`${name}\``, type, required ? 'required' : fallback, description]
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
