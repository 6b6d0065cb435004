/**
 * Samples -> a trained model. Emits `TrainingEvent`s as 'report' events. The body (`feed-trainer/run.ts`) is loaded
 * when a run begins, so that commands that do not train start without it.
 */
import type { SampleBatch } from '../formats/batches.js'
import { type FeedTrainerOptions, feedTrainerOptions, heldOutSets } from './feed-trainer/options.js'
import { type SinkStage, sink } from './stream/stage.js'
import { defineStage } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

export type { FeedTrainerOptions } from './feed-trainer/options.js'

export const feedTrainerStage = defineStage({
  name: 'feed-trainer',
  summary: 'trains a model on samples; ends after the last step',
  accepts: 'samples',
  get options() {
    return feedTrainerOptions()
  },
  create: feedTrainer,
  reads: ({ tokenizer, init_from, ...options }) =>
    [
      tokenizer,
      init_from,
      ...heldOutSets(options).flatMap(({ path, more_paths = [], pack }) => [path, ...more_paths, pack]),
    ].filter(path => path !== undefined),
})

/** @throws OPTION_INVALID, TOKENIZER_MISMATCH, WORLD_MISMATCH, CHECKPOINT_INVALID, PEER_MISSING, ENGINE_FAILED */
export function feedTrainer(options: FeedTrainerOptions): SinkStage<SampleBatch> {
  const checked = parseOptions(feedTrainerOptions(), options, 'feed-trainer')
  return sink(feedTrainerStage, async (input, context) => {
    const { trainOnSamples } = await import('./feed-trainer/run.js')
    await trainOnSamples(checked, input, context)
  })
}
