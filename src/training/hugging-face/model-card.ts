/** The model card (README.md) of an export: facts of the model and of the run that trained it. */
import { count } from '../../formats/message-words.js'
import type { CheckpointState } from '../checkpoint.js'
import type { ModelOptions } from '../options.js'
import { parameterCount } from '../weights.js'

/** Identifies cards that were written here, which a later export replaces. */
const TAG = '- penstock'

export interface CardFacts {
  readonly model: ModelOptions
  readonly state: Pick<CheckpointState, 'step' | 'totalSteps' | 'consumedTokens' | 'training' | 'tokenizer'>
  /** Name of the layout for people. */
  readonly layout: string
  readonly dtype: string
}

export function modelCard({ model, state, layout, dtype }: CardFacts): string {
  const { training, step, totalSteps, consumedTokens, tokenizer } = state
  const { batch_size, accumulation_steps, optimizer, schedule, engine } = training
  const trained: [string, string][] =
    step === 0
      ? []
      : [
          ['Steps', `${count(step)} of ${count(totalSteps)}`],
          ['Tokens trained on', count(consumedTokens)],
          ['Samples per step', count(batch_size * accumulation_steps)],
          ['Optimizer', `AdamW, peak learning rate ${optimizer.learning_rate}, schedule ${schedule.decay}`],
          ['Engine', engine],
        ]
  const rows: [string, string][] = [
    ['Layout', layout],
    ['Parameters', count(parameterCount(model))],
    ['Layers, heads, key heads', `${model.layers}, ${model.heads}, ${model.kv_heads}`],
    ['Width, feed-forward width', `${count(model.width)}, ${count(model.ffn_width)}`],
    ['Vocabulary', count(model.vocab_size)],
    ['Context length', `${count(model.sequence_length)} tokens`],
    ['Weights', dtype],
    ...trained,
    ...(tokenizer === undefined ? [] : [['Tokenizer (SHA-256)', tokenizer.sha256] as [string, string]]),
  ]
  return `---
library_name: transformers
pipeline_tag: text-generation
tags:
${TAG}
---

# A language model trained with Penstock

| | |
| --- | --- |
${rows.map(([name, value]) => `| ${name} | ${value} |`).join('\n')}

\`\`\`python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("this folder")
tokenizer = AutoTokenizer.from_pretrained("this folder")
\`\`\`
`
}

/** Whether an existing README.md is a card of an earlier export. */
export const isModelCard = (text: string): boolean => text.startsWith('---\n') && text.split('---')[1]!.includes(TAG)
