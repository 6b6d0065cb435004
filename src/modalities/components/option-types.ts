/**
 * The building blocks of component options, as strict as the reference: a whole number is neither "5" nor 5.0, an enumeration
 * goes by its member names, and an unknown key is an error.
 */
import * as z from 'zod'
import type { ConfigPath } from '../yaml/config-error.js'
import type { Place } from '../yaml/yaml-tree.js'

/** A float without a fraction, such as 5.0: JavaScript could not tell it from 5, and options for whole numbers refuse it. */
export class WholeFloat {
  readonly value: number

  constructor(value: number) {
    this.value = value
  }
}

/** A component of the configuration whose options were checked. One that is referred to is one object at all its places. */
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

/** An option of a component that is a component: its schema has checked that. */
export function partOf(component: Component, name: string): Component {
  return component.options[name] as Component
}

export const text = z.string()
export const flag = z.boolean()
export const texts = z.array(text)

/** A whole number of at least `least`. */
export const whole = (min: number) =>
  z.int({ error: issue => (issue.code === 'invalid_type' ? 'expected a whole number' : undefined) }).min(min)

export const real = z.preprocess(value => (value instanceof WholeFloat ? value.value : value), z.number())
export const realFrom = (min: number) =>
  z.preprocess(value => (value instanceof WholeFloat ? value.value : value), z.number().min(min))
export const realAbove = (bound: number) =>
  z.preprocess(value => (value instanceof WholeFloat ? value.value : value), z.number().gt(bound))
export const realWithin = (min: number, max: number) =>
  z.preprocess(value => (value instanceof WholeFloat ? value.value : value), z.number().min(min).max(max))

/** A value that may be left out or null. */
export const maybe = <Schema extends z.ZodType>(schema: Schema) => schema.nullish()

const kindsOfParts = new WeakMap<z.core.$ZodType, readonly string[]>()

/** Another component, of one of these kinds. */
export function part(...kinds: readonly string[]) {
  const schema = z.custom<Component>(
    value => value instanceof Component && kinds.includes(value.componentKey),
    `expected a component ${kinds.join(' or ')}`,
  )
  kindsOfParts.set(schema, kinds)
  return schema
}

/** The kinds that a schema made by `part` takes; undefined for any other schema. */
export function componentKinds(schema: z.core.$ZodType): readonly string[] | undefined {
  return kindsOfParts.get(schema)
}

/** What the reference calls a model: also the part of one that a pipeline selects. */
export const model = part('model', 'pipeline')

/** One of these names, spelled so. */
export const oneOf = <const Names extends readonly [string, ...string[]]>(...names: Names) => z.enum(names)

/** How the options of one variant look, and what it is here. */
export interface ComponentSpec {
  readonly options: z.ZodObject
  /** Set where the variant is known but has no counterpart: the reason, for `explain` and for the error of a run. */
  readonly unsupported?: string
  /** Settings read under another key today: old name -> name. */
  readonly aliases?: Readonly<Record<string, string>>
  /** A component that is a number: computed as soon as its options are known. */
  readonly compute?: (options: Readonly<Record<string, unknown>>, tools: ComputeTools) => number
}

/** What number conversions read from files. */
export interface ComputeTools {
  /** Tokens in a packed file. */
  readonly readTokenCount: (path: string) => number
  /** Documents in a raw index; absent where the caller offers none. */
  readonly readDocumentCount?: ((path: string) => number) | undefined
}

export type Variants = Readonly<Record<string, ComponentSpec>>
export type ComponentRegistry = Readonly<Record<string, Variants>>
