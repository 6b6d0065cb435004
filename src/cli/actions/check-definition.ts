/** Validates a definition as a run would, without running it, and prints the names of its pipelines. */
import { checkDefinition } from '../../pipelines/check.js'
import type { Definition } from '../../pipelines/definition.js'
import { checkMonitoring } from '../../pipelines/sinks.js'
import { printOutput } from '../output/print.js'

/**
 * @param file path of the definition, for the message
 * @throws CONFIG_INVALID, STAGE_UNKNOWN, STAGES_MISFIT, FILE_IS_SOURCE
 */
export function printCheck(file: string, definition: Definition): void {
  const pipelines = checkDefinition(definition)
  checkMonitoring(definition, pipelines)
  printOutput(`${file}: OK (pipelines: ${pipelines.map(({ name }) => name).join(', ')})\n`)
}
