/** Explains how Penstock runs a Modalities configuration, as lines of text; nothing is run. */
import type { Unsupported } from './components/build-components.js'
import type { LoaderPlan } from './plans/loader-plan.js'
import type { ModalitiesPackPlan } from './plans/pack-plan.js'
import { noticeLine } from './plans/read-config.js'
import type { ModalitiesTrainingPlan } from './plans/training-plan.js'
import { toPenstockTraining } from './to-penstock.js'
import { pathText } from './yaml/config-error.js'
import type { Notice } from './yaml/deprecated-keys.js'

export function explainTraining(plan: ModalitiesTrainingPlan, file: string): string[] {
  const { settings, model, checkpoint } = plan
  const { training_target: target, training_progress: progress, intervals } = settings
  const { differences } = toPenstockTraining(plan)
  return [
    `train on        ${loaderText(plan.train)}`,
    ...plan.evaluation.map(loader => `evaluate on     ${loaderText(loader)}`),
    `for             ${target.num_target_steps} steps of ${plan.tokensPerStep} tokens (${target.num_target_tokens} tokens in total), ${progress.num_seen_steps} steps completed`,
    `model           gpt2: ${model.n_layer} layers, width ${model.n_embd}, ${model.n_head_q}/${model.n_head_kv} heads, vocabulary ${model.vocab_size}, ${model.activation_type}`,
    `wrapped in      ${plan.wrappers.map(({ variant }) => variant).join(' > ') || 'nothing'}`,
    `optimizer       AdamW, rate ${plan.optimizer.learningRate}, decay ${plan.optimizer.weightDecay} except ${plan.optimizer.excludedGroups.join(', ') || 'nothing'}`,
    `schedule        ${plan.schedule?.variant ?? 'constant'}`,
    `gradients       ${plan.gradientClip.maxNorm === null ? 'not clipped' : `clipped at ${plan.gradientClip.maxNorm}, ${plan.gradientClip.norm}`}`,
    `checkpoints     ${checkpoint.keep === 0 ? 'none' : `${checkpoint.folder}, every ${checkpoint.everySteps} steps, ${checkpoint.keep ?? 'all'} kept`}`,
    `reports         every ${intervals.training_log_interval_in_steps} steps: ${plan.progressSubscriber.variant}, ${plan.resultsSubscriber.variant}`,
    ...(plan.warmstartFrom === null ? [] : [`warmstart from  ${plan.warmstartFrom}`]),
    ...differences.map(difference => `differs         ${difference}`),
    ...endLines(plan, file),
  ]
}

export function explainPacking(plan: ModalitiesPackPlan, file: string): string[] {
  const { tokenizer } = plan
  const details =
    tokenizer.kind === 'sentencepiece'
      ? 'SentencePiece'
      : `Hugging Face, truncation ${tokenizer.truncation}, padding ${tokenizer.padding}, max_length ${tokenizer.maxLength ?? 'none'}`
  return [
    `read            ${plan.sourcePath}, indexed by ${plan.indexPath}`,
    `take            ${plan.filter} of each record`,
    `tokenize with   ${tokenizer.source} (${details})`,
    `end documents   with ${plan.endOfDocument}`,
    `write           ${plan.outputPath}, ${plan.workers} workers`,
    ...endLines(plan, file),
  ]
}

function loaderText(loader: LoaderPlan): string {
  const order = loader.shuffle ? `shuffled with torch's generator, seed ${loader.seed + loader.epoch}` : 'in order'
  const masked =
    loader.mask === null ? '' : `, loss on tokens between ${loader.mask.beginToken} and ${loader.mask.endToken} only`
  const done = loader.skipSamples === 0 ? '' : `, ${loader.skipSamples} samples skipped`
  return `${loader.dataPaths.join(', ')}: blocks of ${loader.sequenceLength} tokens, ${order}, ${loader.microBatchSize} per micro-batch, rank ${loader.rank} of ${loader.worldSize}${done}${masked}`
}

function endLines(plan: { notices: readonly Notice[]; unsupported: readonly Unsupported[] }, file: string): string[] {
  return [
    ...plan.unsupported.map(({ what, why, path }) => `not supported   ${what} at ${pathText(path)}: ${why}`),
    ...plan.notices.map(notice => `note            ${noticeLine(file, notice)}`),
  ]
}
