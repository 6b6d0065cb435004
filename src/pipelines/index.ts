/** `penstock-ml/pipelines`: pipelines as data, training and generation. */

export type { TrainingEvent, TrainingSummary } from '../training/training-events.js'
export { allSteps, type CheckedPipeline, type CheckedStep, checkDefinition } from './check.js'
export { type Definition, definitionOf, type Variables, withStageOptions } from './definition.js'
export { type GenerateOptions, generate } from './generate.js'
export { readDefinition } from './read-definition.js'
export { type StageEntry, type StageRegistry, stageRegistry } from './registry.js'
export type { ResumeEvent } from './resume.js'
export { type PipelineResult, type RunOptions, type RunProgress, runPipeline, type StageReport } from './run.js'
export { type TrainOptions, train } from './train.js'
