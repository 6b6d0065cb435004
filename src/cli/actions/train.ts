/** Runs a training, and runs it again when its engine failed: from the newest checkpoint, as often as it may. */
import { PenstockError } from '../../errors.js'
import { allSteps, checkDefinition } from '../../pipelines/check.js'
import type { Definition } from '../../pipelines/definition.js'
import type { TrainingOptions } from '../../training/options.js'
import { printError } from '../output/terminal.js'
import { type RunFlags, runDefinition } from './run-definition.js'

/** @param onEvent is told of steps and checkpoints */
export async function runTraining(
  definition: Definition,
  flags: RunFlags,
  onEvent?: (stage: string, event: unknown) => void,
): Promise<void> {
  // Of several machines that train together one tells the story.
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
      process.stderr.write(`penstock: starting again; restarts left after this one: ${restartsLeft - 1}\n`)
    }
  }
}

/** Whether torchrun started this process through its ranks, on another machine than the first. */
function isFollower(): boolean {
  return process.env.PENSTOCK_FEED !== undefined && process.env.GROUP_RANK !== '0'
}

function maxRestarts(definition: Definition): number {
  const steps = checkDefinition(definition).flatMap(({ chain }) => allSteps(chain))
  const training = steps.find(({ name }) => name === 'feed-trainer')?.options as TrainingOptions | undefined
  return training?.engine === 'torch' ? training.torch.max_restarts : 0
}
