/** The tokens between which targets count, as the ids that the configuration's own tokenizer gives them. */
import { askTokenizer } from '../workers/tokenizer/tokenizer-thread.js'
import { tokenizingOf } from './hugging-face-tokenizer.js'
import type { MaskPlan } from './plans/loader-plan.js'
import { tokenizerPlan } from './plans/pack-plan.js'
import type { ModalitiesTrainingPlan } from './plans/training-plan.js'
import type { NativeTraining } from './to-penstock.js'

/**
 * Training options with ids in place of the tokens of loss masks.
 * @throws TOKENIZER_MISMATCH for a token that the tokenizer lacks (the reference takes its unknown token), and what opening it throws
 */
export async function withMaskIds(native: NativeTraining, plan: ModalitiesTrainingPlan): Promise<NativeTraining> {
  const { loss_mask: mask, held_out: heldOut } = native.feedTrainer
  const [evaluation] = plan.evaluation
  const feedTrainer = { ...native.feedTrainer }
  if (mask !== undefined && plan.train.mask !== null) {
    feedTrainer.loss_mask = { ...mask, ...(await idsOf(plan.train.mask)) }
  }
  if (heldOut?.loss_mask !== undefined && evaluation !== undefined && evaluation.mask !== null) {
    feedTrainer.held_out = { ...heldOut, loss_mask: { ...heldOut.loss_mask, ...(await idsOf(evaluation.mask)) } }
  }
  return { ...native, feedTrainer }
}

async function idsOf({ beginToken, endToken, tokenizer }: MaskPlan): Promise<{ begin: number; end: number }> {
  const { tokenizer: source, special_tokens: specialTokens } = await tokenizingOf(tokenizerPlan(tokenizer))
  return askTokenizer(
    source,
    async tokens => ({ begin: await tokens.idOf(beginToken), end: await tokens.idOf(endToken) }),
    specialTokens,
  )
}
