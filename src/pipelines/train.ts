/** Trains a model on packed files with one call; a definition in YAML does the same. */
import { PenstockError } from '../errors.js'
import { type FeedTrainerOptions, feedTrainerStage } from '../stages/feed-trainer.js'
import { type ShuffleSamplesOptions, shuffleSamplesStage } from '../stages/samples/shuffle-samples.js'
import { parseOptions } from '../stages/stream/stage-options.js'
import type { SampleTextEvent } from '../training/generation/sample-texts.js'
import type { TrainingEvent, TrainingSummary } from '../training/training-events.js'
import { checkDefinition } from './check.js'
import { definitionOf } from './definition.js'
import { runPipeline } from './run.js'

export interface TrainOptions {
  /** Options of `shuffle-samples`: the samples to train on. */
  readonly samples: ShuffleSamplesOptions
  /** Options of `feed-trainer`: model, length and optimizer. */
  readonly trainer: FeedTrainerOptions
  /** Aborting saves a checkpoint, if a folder is set, and rejects with STOPPED. */
  readonly signal?: AbortSignal
  /** Steps, evaluations, checkpoints and sample texts. */
  readonly onEvent?: (event: TrainingEvent | SampleTextEvent) => void
}

/**
 * Trains up to the last step; resumes from the newest checkpoint in the folder of `trainer.checkpoint`.
 * @throws OPTION_INVALID before any file is opened; STOPPED; the error of a stage
 */
export async function train({ samples, trainer, signal, onEvent }: TrainOptions): Promise<TrainingSummary> {
  parseOptions(shuffleSamplesStage.options, samples, 'shuffle-samples')
  parseOptions(feedTrainerStage.options, trainer, 'feed-trainer')
  const definition = definitionOf({ stages: [{ 'shuffle-samples': samples }, { 'feed-trainer': trainer }] })
  const [pipeline] = checkDefinition(definition)
  let summary: TrainingSummary | undefined
  await runPipeline(pipeline!, {
    ...(signal && { signal }),
    onReport: (_, report) => {
      const event = report as TrainingEvent | SampleTextEvent
      if (event.kind === 'end') summary = event
      onEvent?.(event)
    },
  })
  if (summary === undefined) throw new PenstockError('INTERNAL', 'the training ended without a result')
  return summary
}
