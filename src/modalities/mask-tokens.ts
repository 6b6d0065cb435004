/** Resolves the begin and end tokens of loss masks to ids with the tokenizer of the configuration. */
import { askTokenizer } from '../workers/tokenizer/tokenizer-thread.js'
import { tokenizingOf } from './hugging-face-tokenizer.js'
import type { MaskPlan } from './plans/loader-plan.js'
import { tokenizerPlan } from './plans/pack-plan.js'
import type { ModalitiesTrainingPlan } from './plans/training-plan.js'
import type { PenstockTraining } from './to-penstock.js'

/**
 * Replaces the tokens of loss masks with their ids.
 * @throws TOKENIZER_MISMATCH for a token missing from the vocabulary (Modalities uses the unknown token instead), and errors
 *   from loading the tokenizer
 */
export async function withMaskIds(training: PenstockTraining, plan: ModalitiesTrainingPlan): Promise<PenstockTraining> {
  const { loss_mask: mask, held_out: heldOut } = training.feedTrainer
  const [evaluation] = plan.evaluation
  const feedTrainer = { ...training.feedTrainer }
  if (mask !== undefined && plan.train.mask !== null) {
    feedTrainer.loss_mask = { ...mask, ...(await idsOf(plan.train.mask)) }
  }
  if (heldOut?.loss_mask !== undefined && evaluation !== undefined && evaluation.mask !== null) {
    feedTrainer.held_out = { ...heldOut, loss_mask: { ...heldOut.loss_mask, ...(await idsOf(evaluation.mask)) } }
  }
  return { ...training, feedTrainer }
}

async function idsOf({ beginToken, endToken, tokenizer }: MaskPlan): Promise<{ begin: number; end: number }> {
  const { tokenizer: source, special_tokens: specialTokens } = await tokenizingOf(tokenizerPlan(tokenizer))
  return askTokenizer(
    source,
    async tokens => ({ begin: await tokens.idOf(beginToken), end: await tokens.idOf(endToken) }),
    specialTokens,
  )
}
