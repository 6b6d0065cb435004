/** Reads the options of a stage or sink out of the schema that validates them: rows for a table, and an example. */
import * as z from 'zod'

/** The part of JSON Schema that zod emits for options. */
export interface OptionSchema {
  readonly type?: string
  readonly enum?: readonly unknown[]
  readonly anyOf?: readonly OptionSchema[]
  readonly oneOf?: readonly OptionSchema[]
  readonly const?: unknown
  readonly default?: unknown
  readonly minimum?: number
  readonly description?: string
  readonly examples?: readonly unknown[]
  readonly items?: OptionSchema | boolean
  readonly prefixItems?: readonly OptionSchema[]
  readonly properties?: Readonly<Record<string, OptionSchema>>
  readonly required?: readonly string[]
}

export interface OptionRow {
  /** Path of the option below the described object, such as `model.layers`. */
  readonly path: string
  readonly type: string
  readonly description: string
  readonly required: boolean
  /** The default as JSON; empty if there is none. */
  readonly fallback: string
}

export const optionSchema = (options: z.ZodType): OptionSchema =>
  z.toJSONSchema(options, { io: 'input' }) as OptionSchema

/** The option at a path of names, or undefined. An array of objects stands for its elements. */
export function optionAt(schema: OptionSchema, path: readonly string[]): OptionSchema | undefined {
  const [name, ...rest] = path
  if (name === undefined) return schema
  const option = optionsOf(schema).find(candidate => candidate.name === name)
  return option && optionAt(elementOf(option.schema), rest)
}

/** The options of an object, followed by those of the objects in it, depth first. */
export function optionRows(schema: OptionSchema, prefix = ''): OptionRow[] {
  return optionsOf(schema).flatMap(({ name, schema: option, required, note }) => {
    const path = `${prefix}${name}`
    const row = {
      path,
      type: typeName(option),
      description: `${option.description ?? ''}${note}`,
      required,
      fallback: option.default === undefined ? '' : JSON.stringify(option.default),
    }
    const inner = elementOf(option)
    return [row, ...(hasOptions(inner) ? optionRows(inner, `${path}${inner === option ? '' : '[]'}.`) : [])]
  })
}

/** Values for an example: those of the schema if it has any, else its required options and its defaults. */
export function exampleOf(schema: OptionSchema): Readonly<Record<string, unknown>> {
  if (schema.examples?.[0] !== undefined) return schema.examples[0] as Record<string, unknown>
  const variant = schema.oneOf?.[0] ?? schema
  return Object.fromEntries(
    Object.entries(variant.properties ?? {})
      .filter(([name, option]) => variant.required?.includes(name) || option.default !== undefined)
      .map(([name, option]) => [name, exampleValue(option, name)]),
  )
}

/** An example value of an option; text without a default is the option's name in capitals, as in the usage of a command. */
export function exampleValue(option: OptionSchema, name: string): unknown {
  if (option.examples?.[0] !== undefined) return option.examples[0]
  if (option.type === 'array') return option.default ?? [exampleValue(option.items as OptionSchema, name)]
  if (hasOptions(option)) return exampleOf(option)
  const value = option.default ?? option.const ?? option.enum?.[0]
  if (value !== undefined) return value
  if (option.type === 'integer' || option.type === 'number') return Math.max(option.minimum ?? 1, 1)
  if (option.type === 'boolean') return true
  const alternative = option.anyOf?.[0]
  return alternative === undefined ? name.toUpperCase() : exampleValue(alternative, name)
}

interface NamedOption {
  readonly name: string
  readonly schema: OptionSchema
  readonly required: boolean
  /** Names the variants that have the option, if not all of them do. */
  readonly note: string
}

function optionsOf(schema: OptionSchema): NamedOption[] {
  const variants = schema.oneOf ?? [schema]
  const names = [...new Set(variants.flatMap(variant => Object.keys(variant.properties ?? {})))]
  return names.map(name => {
    const having = variants.filter(variant => variant.properties?.[name] !== undefined)
    const schemas = having.map(variant => variant.properties![name]!)
    const required = variants.every(variant => variant.required?.includes(name) === true)
    const values = schemas.map(option => option.const)
    const option = values.length > 1 && !values.includes(undefined) ? { ...schemas[0]!, enum: values } : schemas[0]!
    return { name, schema: option, required, note: having.length === variants.length ? '' : variantNote(having) }
  })
}

function variantNote(variants: readonly OptionSchema[]): string {
  const tags = variants.flatMap(variant =>
    Object.entries(variant.properties ?? {}).filter(([, option]) => option.const !== undefined),
  )
  return ` (${tags[0]?.[0]}: ${tags.map(([, option]) => String(option.const)).join(', ')})`
}

const elementOf = (schema: OptionSchema): OptionSchema =>
  typeof schema.items === 'object' && hasOptions(schema.items) ? schema.items : schema

const hasOptions = (schema: OptionSchema): boolean =>
  schema.properties !== undefined ||
  schema.oneOf?.some(variant => variant.properties !== undefined) === true ||
  (typeof schema.items === 'object' && hasOptions(schema.items))

/** A type as users write it, such as `string[]` or `error | skip`. */
export function typeName(schema: OptionSchema): string {
  if (schema.enum !== undefined) return schema.enum.join(' | ')
  if (schema.const !== undefined) return String(schema.const)
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeName).join(' | ')
  if (schema.oneOf !== undefined) return 'object'
  if (schema.prefixItems !== undefined) return `[${schema.prefixItems.map(typeName).join(', ')}]`
  if (schema.type === 'array' && typeof schema.items === 'object') {
    const element = typeName(schema.items)
    return element.includes(' ') ? `(${element})[]` : `${element}[]`
  }
  return schema.type ?? 'any'
}
