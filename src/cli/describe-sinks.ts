/** The sinks and their options as text, from the schemas that check them. */
import { PenstockError } from '../errors.js'
import { type SinkName, sinkSchemas } from '../monitoring/options.js'
import { suggestion } from '../pipelines/suggest.js'
import { optionLines } from './describe-stages.js'

/** @throws ARGUMENT_INVALID */
export function describeSinks(name: string | undefined): string {
  const names = Object.keys(sinkSchemas) as SinkName[]
  if (name !== undefined && !Object.hasOwn(sinkSchemas, name)) {
    throw new PenstockError('ARGUMENT_INVALID', `no sink ${name}${suggestion(name, names)}`)
  }
  const head = (sink: SinkName): string => `${sink.padEnd(12)} ${sinkSchemas[sink].description ?? ''}`
  const lines =
    name === undefined
      ? ['folder       the run folder, in which paths that are left out lie; runs/NAME when absent', ...names.map(head)]
      : [head(name as SinkName), '', ...optionLines({ options: sinkSchemas[name as SinkName] })]
  return `${lines.join('\n')}\n`
}
