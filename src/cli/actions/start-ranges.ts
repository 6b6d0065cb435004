/** Starts reading the source before the rest of the code is loaded, to overlap the two. */
import { rangeSteps, rangeWorkOf } from '../../pipelines/range-work.js'
import { withStartedRun } from '../../workers/ranges/range-run.js'

/** Calls `load`, which runs these stages, while workers already process the first ranges of the source. */
export async function withRangesStarted(stages: readonly object[], load: () => Promise<void>): Promise<void> {
  const work = rangeWorkOf(rangeSteps(stages))
  await (work === undefined ? load() : withStartedRun(work, load))
}
