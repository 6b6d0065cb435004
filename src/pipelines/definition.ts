/**
 * Parsed YAML -> a plain, frozen description of its pipelines. Checks the structure only; `check.ts` checks stage names
 * and options against a registry.
 *
 * A definition has either `pipelines`, a map from name to list of steps, run in order, or `stages`, a single list. A step
 * is the name of a stage, or a map from that name to its options. The last step may be a `fork` into several lists, the
 * first a `merge` of several. `variables` replace `${name}`. `monitoring` configures the sinks for metrics.
 */
import { PenstockError } from '../errors.js'
import { suggestion } from '../formats/message-words.js'
import type { YamlPath, YamlSource } from './yaml-source.js'

export interface StageStep {
  readonly stage: string
  readonly options: Readonly<Record<string, unknown>>
  /** Position of the options in the definition. */
  readonly path: YamlPath
}
export interface Chain {
  /** Inputs of this chain, unless it starts with a source. */
  readonly merge: readonly Chain[]
  readonly steps: readonly StageStep[]
  /** Branches at the end of this chain, unless it ends with a sink. */
  readonly fork: readonly Chain[]
  readonly path: YamlPath
}
export interface PipelineDefinition {
  readonly name: string
  readonly chain: Chain
}
export interface Definition {
  readonly name: string | undefined
  /** Options of each sink; `sinks.ts` checks them. */
  readonly monitoring: Readonly<Record<string, unknown>>
  readonly pipelines: readonly PipelineDefinition[]
  readonly source: YamlSource
  /** Files from which the definition was made, besides `source.file`; no output may replace them. */
  readonly inputs: readonly string[]
}

export type Variables = Readonly<Record<string, string | number | boolean>>

/**
 * A definition built by a program instead of parsed from a file. Without `variables`, `${name}` is ordinary text, so that
 * any file name can be used.
 * @param inputs files from which it was made
 * @throws CONFIG_INVALID
 */
export function definitionOf(value: unknown, name = 'definition', inputs: readonly string[] = []): Definition {
  const hasVariables = typeof value === 'object' && value !== null && 'variables' in value
  const source: YamlSource = { file: name, value, placeOf: () => ({ line: 1, column: 1 }) }
  return { ...defineFrom(source, hasVariables ? {} : undefined), inputs }
}

const TOP_LEVEL = ['name', 'description', 'variables', 'monitoring', 'pipelines', 'stages']

/**
 * @param overrides values that override the definition's `variables`; undefined to leave `${name}` as it is
 * @throws CONFIG_INVALID
 */
export function defineFrom(source: YamlSource, overrides: Variables | undefined): Definition {
  const reader = new DefinitionReader(source, overrides)
  return Object.freeze({
    name: reader.name(),
    monitoring: reader.monitoring(),
    pipelines: Object.freeze(reader.pipelines()),
    source,
    inputs: [],
  })
}

class DefinitionReader {
  private readonly source: YamlSource
  private readonly top: Record<string, unknown>
  private readonly variables: Map<string, unknown>
  private readonly substitutes: boolean

  constructor(source: YamlSource, overrides: Variables | undefined) {
    this.substitutes = overrides !== undefined
    this.source = source
    this.top = this.mapAt(source.value, [], 'a definition')
    for (const key of Object.keys(this.top)) {
      if (!TOP_LEVEL.includes(key)) this.fail([key], `unknown key ${key}${suggestion(key, TOP_LEVEL)}`, true)
    }
    const defined = this.top.variables === undefined ? {} : this.mapAt(this.top.variables, ['variables'], 'variables')
    this.variables = new Map(Object.entries(defined))
    for (const [name, value] of Object.entries(overrides ?? {})) {
      if (!this.variables.has(name)) this.fail(['variables'], `unknown variable ${name}${this.near(name)}`)
      this.variables.set(name, value)
    }
    // A variable may refer to those before it. An override is taken literally: it may be the name of a file.
    for (const [name, value] of this.variables) {
      if (!Object.hasOwn(overrides ?? {}, name)) this.variables.set(name, this.substitute(value, ['variables', name]))
    }
  }

  name(): string | undefined {
    return typeof this.top.name === 'string' ? this.top.name : undefined
  }

  monitoring(): Readonly<Record<string, unknown>> {
    const { monitoring } = this.top
    if (monitoring === undefined) return {}
    return Object.freeze(
      this.substitute(this.mapAt(monitoring, ['monitoring'], 'monitoring'), ['monitoring']),
    ) as Readonly<Record<string, unknown>>
  }

  pipelines(): PipelineDefinition[] {
    const { pipelines, stages } = this.top
    if ((pipelines === undefined) === (stages === undefined)) {
      this.fail([], 'expected either pipelines (a map from name to list of stages) or stages (a single list)')
    }
    if (stages !== undefined) {
      return [{ name: this.name() ?? 'pipeline', chain: this.chain(stages, ['stages']) }]
    }
    const named = Object.entries(this.mapAt(pipelines, ['pipelines'], 'pipelines'))
    return named.map(([name, steps]) => ({ name, chain: this.chain(steps, ['pipelines', name]) }))
  }

  private chain(value: unknown, path: YamlPath): Chain {
    if (!Array.isArray(value) || value.length === 0)
      this.fail(path, `expected a list of stages, found ${nameOf(value)}`)
    const steps: StageStep[] = []
    let merge: readonly Chain[] = []
    let fork: readonly Chain[] = []
    for (const [index, item] of (value as unknown[]).entries()) {
      const { name, content } = this.step(item, [...path, index])
      if (name === 'merge') {
        if (index !== 0) this.fail([...path, index], 'merge must be the first step of its list')
        merge = this.branches(content, [...path, index, 'merge'])
      } else if (name === 'fork') {
        if (index !== (value as unknown[]).length - 1)
          this.fail([...path, index], 'fork must be the last step of its list')
        fork = this.branches(content, [...path, index, 'fork'])
      } else {
        const at = typeof item === 'string' ? [...path, index] : [...path, index, name]
        const options =
          content === undefined || content === null ? {} : this.mapAt(content, at, `the options of ${name}`)
        steps.push({ stage: name, options: this.substitute(options, at) as Record<string, unknown>, path: at })
      }
    }
    return Object.freeze({ merge, steps: Object.freeze(steps), fork, path })
  }

  private step(item: unknown, path: YamlPath): { name: string; content: unknown } {
    if (typeof item === 'string') return { name: item, content: undefined }
    const entries = Object.entries(this.mapAt(item, path, 'a step (a stage, or a stage with its options)'))
    if (entries.length !== 1) this.fail(path, `expected one stage in a step, found ${entries.length}`)
    const [name, content] = entries[0]!
    return { name, content }
  }

  private branches(value: unknown, path: YamlPath): readonly Chain[] {
    if (!Array.isArray(value) || value.length < 2) this.fail(path, 'expected at least two lists of stages')
    return Object.freeze((value as unknown[]).map((branch, index) => this.chain(branch, [...path, index])))
  }

  /**
   * Replaces `${name}` in all strings of a value; `$${name}` becomes `${name}`. A string that is only `${name}` becomes the
   * variable, type included.
   */
  private substitute(value: unknown, path: YamlPath): unknown {
    if (typeof value === 'string') return this.substituteInString(value, path)
    if (Array.isArray(value)) return value.map((item, index) => this.substitute(item, [...path, index]))
    if (typeof value !== 'object' || value === null) return value
    const entries = Object.entries(value).map(([key, item]) => [key, this.substitute(item, [...path, key])] as const)
    return Object.fromEntries(entries)
  }

  private substituteInString(text: string, path: YamlPath): unknown {
    if (!this.substitutes) return text
    const lookUp = (name: string): unknown => {
      const value = this.variables.get(name)
      if (value === undefined) this.fail(path, `unknown variable ${name}${this.near(name)}`)
      return value
    }
    const whole = /^\$\{([\w.-]+)\}$/.exec(text)
    if (whole !== null) return lookUp(whole[1]!)
    return text.replaceAll(/(\$?)\$\{([\w.-]+)\}/g, (found, dollar: string, name: string) =>
      dollar === '' ? String(lookUp(name)) : found.slice(1),
    )
  }

  private near(name: string): string {
    return suggestion(name, this.variables.keys())
  }

  private mapAt(value: unknown, path: YamlPath, what: string): Record<string, unknown> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.fail(path, `expected ${what} as a map, found ${nameOf(value)}`)
    }
    return value as Record<string, unknown>
  }

  private fail(path: YamlPath, message: string, ofKey = false): never {
    throw configError(this.source, path, message, ofKey)
  }
}

/** CONFIG_INVALID with the position of `path` in the definition. */
export function configError(source: YamlSource, path: YamlPath, message: string, ofKey = false): PenstockError {
  return new PenstockError('CONFIG_INVALID', message, {
    file: source.file,
    ...source.placeOf(path, ofKey),
    ...(path.length === 0 ? {} : { path: pathText(path) }),
  })
}

/** `pipelines.pack[2].write-pbin.path` */
export function pathText(path: YamlPath): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`),
    '',
  )
}

export function nameOf(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object') return 'a map'
  return JSON.stringify(value)
}

type StageOptions = Readonly<Record<string, unknown>>

/**
 * A copy of the definition with options of every step of one stage replaced, for flags of a command.
 * @param change the new options, or a function that derives them from the current ones
 * @throws ARGUMENT_INVALID
 */
export function withStageOptions(
  definition: Definition,
  stage: string,
  change: StageOptions | ((options: StageOptions) => StageOptions),
): Definition {
  let found = false
  const inChain = (chain: Chain): Chain => ({
    ...chain,
    merge: chain.merge.map(inChain),
    fork: chain.fork.map(inChain),
    steps: chain.steps.map(step => {
      if (step.stage !== stage) return step
      found = true
      const changed = typeof change === 'function' ? change(step.options) : change
      return { ...step, options: { ...step.options, ...changed } }
    }),
  })
  const pipelines = definition.pipelines.map(pipeline => ({ ...pipeline, chain: inChain(pipeline.chain) }))
  if (!found) {
    throw new PenstockError('ARGUMENT_INVALID', `the definition has no stage ${stage}`, {
      file: definition.source.file,
    })
  }
  return { ...definition, pipelines }
}
