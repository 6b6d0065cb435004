/** Runs a definition given as JSON, with a journal mark every few kilobytes, so that small inputs have several. */
import { checkDefinition, definitionOf, runPipeline } from '../../dist/pipelines/index.js'

const MARK_BYTES = 4096

try {
  for (const pipeline of checkDefinition(definitionOf(JSON.parse(process.argv[2]), 'chaos'))) {
    await runPipeline(pipeline, { markBytes: MARK_BYTES })
  }
} catch (error) {
  process.stderr.write(`penstock: ${error.toLine?.() ?? error}\n`)
  process.exitCode = 1
}
