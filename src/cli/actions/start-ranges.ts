/** Starts reading the source before the rest of the code is loaded, to overlap the two. */
import { setFlagsFromString } from 'node:v8'
import { rangeSteps, rangeWorkOf } from '../../pipelines/range-work.js'
import { withStartedRun } from '../../workers/ranges/range-run.js'

/** Of the youngest objects, which V8 otherwise doubles up to 32 MB. This thread only creates objects that soon are garbage. */
const FIXED_SIZE = '--semi-space-growth-factor=1'

/** Calls `load`, which runs these stages, while workers already process the first ranges of the source. */
export async function withRangesStarted(stages: readonly object[], load: () => Promise<void>): Promise<void> {
  setFlagsFromString(FIXED_SIZE)
  const work = rangeWorkOf(rangeSteps(stages))
  await (work === undefined ? load() : withStartedRun(work, load))
}
