/**
 * Schema building blocks for component options, as strict as Modalities: "5" and 5.0 are not integers, enumerations use
 * their member names, and an unknown key is an error.
 */
import * as z from 'zod'
import type { ConfigPath } from '../yaml/config-error.js'
import type { Place } from '../yaml/yaml-tree.js'

/** A float with an integer value, such as 5.0. JavaScript cannot distinguish it from 5, but integer options must reject it. */
export class WholeFloat {
  readonly value: number

  constructor(value: number) {
    this.value = value
  }
}

/** A component with validated options; all references to a component share one object. */
export class Component {
  readonly componentKey: string
  readonly variantKey: string
  readonly options: Readonly<Record<string, unknown>>
  readonly path: ConfigPath
  readonly place: Place

  constructor(
    componentKey: string,
    variantKey: string,
    options: Readonly<Record<string, unknown>>,
    path: ConfigPath,
    place: Place,
  ) {
    this.componentKey = componentKey
    this.variantKey = variantKey
    this.options = options
    this.path = path
    this.place = place
  }
}

/** An option that is itself a component, as its schema guarantees. */
export function partOf(component: Component, name: string): Component {
  return component.options[name] as Component
}

export const text = z.string()
export const flag = z.boolean()
export const texts = z.array(text)

/** An integer of at least `min`. */
export const whole = (min: number) =>
  z.int({ error: issue => (issue.code === 'invalid_type' ? 'expected an integer' : undefined) }).min(min)

export const real = z.preprocess(value => (value instanceof WholeFloat ? value.value : value), z.number())
export const realFrom = (min: number) =>
  z.preprocess(value => (value instanceof WholeFloat ? value.value : value), z.number().min(min))
export const realAbove = (bound: number) =>
  z.preprocess(value => (value instanceof WholeFloat ? value.value : value), z.number().gt(bound))
export const realWithin = (min: number, max: number) =>
  z.preprocess(value => (value instanceof WholeFloat ? value.value : value), z.number().min(min).max(max))

/** A value that may be omitted or null. */
export const maybe = <Schema extends z.ZodType>(schema: Schema) => schema.nullish()

const kindsOfParts = new WeakMap<z.core.$ZodType, readonly string[]>()

/** A component of one of these kinds. */
export function part(...kinds: readonly string[]) {
  const schema = z.custom<Component>(
    value => value instanceof Component && kinds.includes(value.componentKey),
    `expected a component ${kinds.join(' or ')}`,
  )
  kindsOfParts.set(schema, kinds)
  return schema
}

/** The kinds accepted by a schema from `part`; undefined for other schemas. */
export function componentKinds(schema: z.core.$ZodType): readonly string[] | undefined {
  return kindsOfParts.get(schema)
}

/** A model, or the stage of a pipeline-parallel model. */
export const model = part('model', 'pipeline')

/** One of these names, case-sensitive. */
export const oneOf = <const Names extends readonly [string, ...string[]]>(...names: Names) => z.enum(names)

/** Options of a component variant and how Penstock handles it. */
export interface ComponentSpec {
  readonly options: z.ZodObject
  /** Reason why a known variant is not supported, for `explain` and for the error of a run. */
  readonly unsupported?: string
  /** Renamed options: old name -> current name. */
  readonly aliases?: Readonly<Record<string, string>>
  /** Computes the value of a number component from its options. */
  readonly compute?: (options: Readonly<Record<string, unknown>>, tools: ComputeTools) => number
}

/** File access for number conversions. */
export interface ComputeTools {
  /** Number of tokens in a packed file. */
  readonly readTokenCount: (path: string) => number
  /** Number of documents in a raw index; absent if the caller does not support it. */
  readonly readDocumentCount?: ((path: string) => number) | undefined
}

export type Variants = Readonly<Record<string, ComponentSpec>>
export type ComponentRegistry = Readonly<Record<string, Variants>>
