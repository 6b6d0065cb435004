/**
 * Definition -> checked pipelines, ready to build: every stage is known, its options are complete, its item kind is the
 * one the next stage accepts, and no output is also an input. Everything that can be rejected without opening a stream
 * is rejected here, with its position in the definition.
 */
import type * as z from 'zod'
import { PenstockError } from '../errors.js'
import { fileIdentity, isInCheckpoint, tokenizerFilesAt } from '../files/file-identity.js'
import { sideFilesOf } from '../files/side-files.js'
import { suggestion } from '../formats/message-words.js'
import { describeIssue } from '../formats/option-issue.js'
import { type Chain, configError, type Definition, type PipelineDefinition, type StageStep } from './definition.js'
import { type StageEntry, type StageRegistry, stageRegistry } from './registry.js'
import type { YamlPath, YamlSource } from './yaml-source.js'

export interface CheckedStep {
  readonly name: string
  readonly entry: StageEntry
  /** Defaults applied. */
  readonly options: Readonly<Record<string, unknown>>
  readonly step: StageStep
}
export interface CheckedChain {
  readonly merge: readonly CheckedChain[]
  readonly steps: readonly CheckedStep[]
  readonly fork: readonly CheckedChain[]
}
export interface CheckedPipeline {
  readonly name: string
  readonly chain: CheckedChain
  readonly source: YamlSource
}

/** @throws CONFIG_INVALID, STAGE_UNKNOWN, STAGES_MISFIT, FILE_IS_SOURCE */
export function checkDefinition(definition: Definition, registry: StageRegistry = stageRegistry): CheckedPipeline[] {
  return definition.pipelines.map(pipeline => checkPipeline(pipeline, definition, registry))
}

function checkPipeline(
  { name, chain }: PipelineDefinition,
  { source, inputs }: Definition,
  registry: StageRegistry,
): CheckedPipeline {
  const checked = withQuarantinePolicy(withSourceNames(checkChain(chain, source, registry), undefined))
  checkEnds(checked, chain, source)
  checkFiles(checked, source, inputs)
  return { name, chain: checked, source }
}

function checkChain(chain: Chain, source: YamlSource, registry: StageRegistry): CheckedChain {
  const inner = (chains: readonly Chain[]) => chains.map(branch => checkChain(branch, source, registry))
  return {
    merge: inner(chain.merge),
    steps: chain.steps.map(step => checkStep(step, source, registry)),
    fork: inner(chain.fork),
  }
}

function checkStep(step: StageStep, source: YamlSource, registry: StageRegistry): CheckedStep {
  const name = step.stage
  const entry = Object.hasOwn(registry, name) ? registry[name]! : undefined
  if (entry === undefined) {
    const message = `unknown stage ${name}${suggestion(name, Object.keys(registry))}`
    throw new PenstockError('STAGE_UNKNOWN', message, configError(source, step.path, message, true).where)
  }
  const parsed = entry.options.safeParse(step.options)
  if (!parsed.success) throw optionError(parsed.error, step, entry, source)
  return { name, entry, options: parsed.data as Record<string, unknown>, step }
}

/** Translates the first zod issue in the options of a step (or of a sink, which has the same form) to a config error. */
export function optionError(
  error: z.ZodError,
  step: StageStep,
  entry: Pick<StageEntry, 'options'>,
  source: YamlSource,
): PenstockError {
  const { path, message, isUnknownKey } = describeIssue(error.issues, step.options, entry.options, step.stage)
  return configError(source, [...step.path, ...path], message, isUnknownKey)
}

interface SourceName {
  readonly file: string
  /** Of the first byte that is read. */
  readonly offset: number
}

/** Passes the path and the offset of `read-file` to the stages that split its bytes, so that their error messages name the file. */
function withSourceNames(chain: CheckedChain, inherited: SourceName | undefined): CheckedChain {
  let source = inherited
  const steps = chain.steps.map(step => {
    const { name, options } = step
    if (name === 'read-file') source = { file: String(options.path), offset: Number(options.from) }
    if (source === undefined || (name !== 'read-lines' && name !== 'split-json')) return step
    const { source: file = source.file, offset = source.offset } = step.step.options
    return { ...step, options: { ...options, source: file, ...(name === 'read-lines' && { offset }) } }
  })
  return {
    merge: chain.merge.map(branch => withSourceNames(branch, undefined)),
    steps,
    fork: chain.fork.map(branch => withSourceNames(branch, source)),
  }
}

/** An existing quarantine file is treated like the outputs of the pipeline, where those agree. */
function withQuarantinePolicy(checked: CheckedChain): CheckedChain {
  const policies = new Set(
    allSteps(checked).flatMap(({ options }) => ('if_exists' in options ? [options.if_exists] : [])),
  )
  const [policy] = policies.size === 1 ? policies : ['error']
  const withPolicy = (chain: CheckedChain): CheckedChain => ({
    merge: chain.merge.map(withPolicy),
    steps: chain.steps.map(step =>
      step.options.quarantine === undefined
        ? step
        : { ...step, options: { quarantine_if_exists: policy, ...step.options } },
    ),
    fork: chain.fork.map(withPolicy),
  })
  return withPolicy(checked)
}

function checkEnds(checked: CheckedChain, chain: Chain, source: YamlSource): void {
  const given = walk(checked, chain, undefined)
  if (given !== undefined) misfit(chain.path, `the pipeline ends in ${given}, which no stage reads; add a sink`)

  /** Item kind at the end of a chain; undefined after a sink or a fork. */
  function walk(part: CheckedChain, form: Chain, incoming: string | undefined): string | undefined {
    let current = incoming
    if (part.merge.length > 0) {
      const kinds = part.merge.map((branch, index) => walk(branch, form.merge[index]!, undefined))
      const other = kinds.find(kind => kind !== kinds[0] || kind === undefined)
      if (other !== undefined || kinds[0] === undefined) {
        misfit(
          form.path,
          `merged streams must emit the same kind of item, found ${kinds.map(kind => kind ?? 'nothing').join(', ')}`,
        )
      }
      current = kinds[0]
    }
    for (const { name, entry, step } of part.steps) {
      if (entry.accepts !== current) misfit(step.path, `${name} ${expected(entry.accepts)}, but ${provided(current)}`)
      current = entry.emits
    }
    if (part.fork.length > 0) {
      if (current === undefined) misfit(form.path, 'a fork must follow a stage that emits items')
      for (const [index, branch] of part.fork.entries()) {
        const rest = walk(branch, form.fork[index]!, current)
        if (rest !== undefined)
          misfit(form.fork[index]!.path, `the branch ends in ${rest}, which no stage reads; add a sink`)
      }
      return undefined
    }
    return current
  }

  function misfit(path: YamlPath, message: string): never {
    throw new PenstockError('STAGES_MISFIT', message, configError(source, path, message).where)
  }
}

const expected = (kind: string | undefined): string =>
  kind === undefined ? 'is a source and must be the first stage' : `expects ${kind}`
const provided = (kind: string | undefined): string =>
  kind === undefined ? 'no stage before it emits items' : `the stage before it emits ${kind}`

/** All steps of a chain, including those of its branches. */
export function allSteps(chain: CheckedChain): CheckedStep[] {
  return [...chain.merge.flatMap(allSteps), ...chain.steps, ...chain.fork.flatMap(allSteps)]
}

/** Rejects an output that is also an input, even under another name, or that two stages write. */
function checkFiles(chain: CheckedChain, source: YamlSource, given: readonly string[]): void {
  const steps = allSteps(chain)
  const inputs = new Set([source.file, ...given, ...steps.flatMap(inputsOf)].map(fileIdentity))
  const outputs = new Map<string, string>()
  for (const { name, entry, options, step } of steps) {
    for (const file of entry.writes?.(options) ?? []) {
      const where = { ...configError(source, step.path, '').where, file: source.file }
      if (inputs.has(fileIdentity(file)) || isInCheckpoint(file)) {
        throw new PenstockError('FILE_IS_SOURCE', `${name} would overwrite ${file}, an input of this pipeline`, where)
      }
      const other = outputs.get(fileIdentity(file))
      // Several stages may share one quarantine file.
      if (other !== undefined && options.quarantine !== file) {
        throw new PenstockError('CONFIG_INVALID', `two stages write ${file}`, where)
      }
      outputs.set(fileIdentity(file), file)
    }
  }
  for (const output of outputs.values()) {
    for (const file of sideFilesOf(output)) {
      const taken = fileIdentity(file)
      const isOutput = outputs.has(taken)
      if (!isOutput && !inputs.has(taken)) continue
      const { where } = configError(source, [], '')
      const message = `${file} is ${isOutput ? 'another output' : 'an input'}, but also a temporary file of ${output}: rename one of them`
      throw new PenstockError(isOutput ? 'CONFIG_INVALID' : 'FILE_IS_SOURCE', message, where)
    }
  }
}

/** All files that a stage reads, including those of its tokenizer. */
export function inputsOf({ entry, options }: CheckedStep): string[] {
  const tokenizer = typeof options.tokenizer === 'string' ? tokenizerFilesAt(options.tokenizer) : []
  return [...(entry.reads?.(options) ?? []), ...tokenizer]
}
