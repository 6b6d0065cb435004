/** Runs a training, and restarts it from the newest checkpoint after an engine failure, up to `max_restarts` times. */
import { PenstockError } from '../../errors.js'
import { allSteps, checkDefinition } from '../../pipelines/check.js'
import type { Definition } from '../../pipelines/definition.js'
import type { TrainingOptions } from '../../training/options.js'
import { notify, printError } from '../output/notices.js'
import { count } from '../output/terminal.js'
import { type RunFlags, runDefinition } from './run-definition.js'

/** @param onEvent receives the events of the stages, such as steps and checkpoints */
export async function runTraining(
  definition: Definition,
  flags: RunFlags,
  onEvent?: (stage: string, event: unknown) => void,
): Promise<void> {
  // With several machines, only the first prints progress and reports metrics.
  if (isFollower()) {
    await runDefinition({ ...definition, monitoring: {} }, { quiet: true }, onEvent)
    return
  }
  for (let restartsLeft = maxRestarts(definition); ; restartsLeft--) {
    try {
      await runDefinition(definition, flags, onEvent)
      return
    } catch (error) {
      if (restartsLeft === 0 || !(error instanceof PenstockError) || error.code !== 'ENGINE_FAILED') throw error
      printError(error)
      notify(`penstock: restarting from the newest checkpoint (restarts left: ${count(restartsLeft - 1)})`, {
        event: 'restart',
        restartsLeft: restartsLeft - 1,
      })
    }
  }
}

/** Whether the torchrun ranks of a machine other than the first started this process. */
function isFollower(): boolean {
  return process.env.PENSTOCK_FEED !== undefined && process.env.GROUP_RANK !== '0'
}

function maxRestarts(definition: Definition): number {
  const steps = checkDefinition(definition).flatMap(({ chain }) => allSteps(chain))
  const training = steps.find(({ name }) => name === 'feed-trainer')?.options as TrainingOptions | undefined
  return training?.engine === 'torch' ? training.torch.max_restarts : 0
}
