/** Validates the `monitoring` key of a definition like the options of a stage: strictly, with line and column. */
import { basename, join } from 'node:path'
import { PenstockError } from '../errors.js'
import { fileIdentity } from '../files/file-identity.js'
import { sideFilesOf } from '../files/side-files.js'
import { suggestion } from '../formats/message-words.js'
import { type MonitoringOptions, type SinkName, sinkSchemas } from '../monitoring/options.js'
import { sinkFiles } from '../monitoring/sink-paths.js'
import { allSteps, type CheckedPipeline, inputsOf, optionError } from './check.js'
import { configError, type Definition, nameOf } from './definition.js'

const RUNS_FOLDER = 'runs'

/** @throws CONFIG_INVALID, FILE_IS_SOURCE for a log that would overwrite an input or output of a pipeline */
export function checkMonitoring(definition: Definition, pipelines: readonly CheckedPipeline[]): MonitoringOptions {
  const { source, monitoring } = definition
  const { folder = join(RUNS_FOLDER, runName(definition)), ...sinks } = monitoring
  if (typeof folder !== 'string' || folder === '') {
    throw configError(source, ['monitoring', 'folder'], `expected the path of a folder, found ${nameOf(folder)}`)
  }
  const checked = Object.entries(sinks).map(([name, value]) => [name, checkSink(definition, name, value)] as const)
  const options = { folder, ...Object.fromEntries(checked.filter(([, value]) => value !== undefined)) }
  checkPaths(options, definition, pipelines)
  return options
}

function checkPaths(options: MonitoringOptions, { source }: Definition, pipelines: readonly CheckedPipeline[]): void {
  const steps = pipelines.flatMap(({ chain }) => allSteps(chain))
  const outputs = steps.flatMap(({ entry, options: own }) => entry.writes?.(own) ?? [])
  const taken = new Set(
    [source.file, ...steps.flatMap(inputsOf), ...outputs, ...outputs.flatMap(sideFilesOf)].map(fileIdentity),
  )
  for (const [name, file] of Object.entries(sinkFiles(options))) {
    const at = fileIdentity(file)
    if (taken.has(at)) {
      const { where } = configError(source, ['monitoring', name], '')
      throw new PenstockError(
        'FILE_IS_SOURCE',
        `the sink ${name} would overwrite ${file}, which this definition reads or writes elsewhere`,
        where,
      )
    }
    // Two sinks writing to one file would corrupt it.
    taken.add(at)
  }
}

/** Name of the run: the name of the definition, or of its file. */
export function runName({ name, source }: Definition): string {
  return name ?? basename(source.file).replace(/\.ya?ml$/, '')
}

/** Validated options; undefined for a disabled sink. */
function checkSink({ source }: Definition, name: string, value: unknown): unknown {
  const known = Object.keys(sinkSchemas)
  const path = ['monitoring', name]
  if (!Object.hasOwn(sinkSchemas, name)) {
    throw configError(source, path, `unknown sink ${name}${suggestion(name, [...known, 'folder'])}`, true)
  }
  if (value === false) return undefined
  const options = value === true || value === null ? {} : value
  if (typeof options !== 'object' || Array.isArray(options)) {
    throw configError(source, path, `expected the options of ${name} as a map, true or false, found ${nameOf(value)}`)
  }
  const schema = sinkSchemas[name as SinkName]
  const parsed = schema.safeParse(options)
  if (parsed.success) return parsed.data
  const step = { stage: name, options: options as Record<string, unknown>, path }
  throw optionError(parsed.error, step, { options: schema }, source)
}
