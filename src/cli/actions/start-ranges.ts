/** Starts the pass over a file before the code of a run is loaded. */
import { rangeSteps, rangeWorkOf } from '../../pipelines/range-work.js'
import { withStartedRun } from '../../workers/ranges/range-run.js'

/** Runs `load`, which runs these stages, while the workers already read the first ranges of their file. */
export async function withRangesStarted(stages: readonly object[], load: () => Promise<void>): Promise<void> {
  const work = rangeWorkOf(rangeSteps(stages))
  await (work === undefined ? load() : withStartedRun(work, load))
}
