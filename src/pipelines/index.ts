/** `penstock-ml/pipelines`: pipelines as data. */
export { allSteps, type CheckedPipeline, type CheckedStep, checkDefinition } from './check.js'
export { type Definition, definitionOf, type Variables, withStageOptions } from './definition.js'
export { readDefinition } from './read-definition.js'
export { type StageEntry, type StageRegistry, stageRegistry } from './registry.js'
export type { ResumeEvent } from './resume.js'
export { type PipelineResult, type RunOptions, type RunProgress, runPipeline, type StageReport } from './run.js'
