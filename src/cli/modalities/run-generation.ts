/** Runs a Modalities text generation configuration: asks the user for the prompt's variables and yields the text. */
import { createInterface } from 'node:readline/promises'
import { PenstockError } from '../../errors.js'
import { openGenerationPlan } from '../../modalities/plans/open-plan.js'
import { noticeLine } from '../../modalities/plans/read-config.js'
import { continueText } from '../../pipelines/text-model.js'
import { askTokenizer } from '../../workers/tokenizer/tokenizer-thread.js'
import { reportDamaged } from '../output/notices.js'
import { printStatus } from '../output/print.js'
import { openAnyCheckpoint } from './checkpoint.js'

/** @throws CONFIG_INVALID, FILE_MISSING, UNSUPPORTED */
export async function* generateAsConfigured(config: string): AsyncGenerator<string> {
  const plan = await openGenerationPlan(config)
  for (const notice of plan.notices) printStatus(`${noticeLine(config, notice)}\n`)
  const prompt = await fillTemplate(plan.promptTemplate)
  if (prompt === '') throw new PenstockError('ARGUMENT_INVALID', 'the prompt is empty')
  const { length, knowsEnd } = await askTokenizer(plan.tokenizer.source, async tokenizer => ({
    length: (await tokenizer.encodePrompt(prompt)).length,
    knowsEnd: (await tokenizer.idsOf([plan.endOfDocument]))[0] !== undefined,
  }))
  const { path, close } = await openAnyCheckpoint(plan.modelPath, plan.model)
  try {
    yield* continueText(path, {
      onDamaged: reportDamaged,
      prompt,
      tokenizer: plan.tokenizer.source,
      ...(knowsEnd ? { endOfDocument: plan.endOfDocument } : {}),
      maxTokens: Math.max(0, plan.sequenceLength - length),
      temperature: plan.temperature,
      stop: true,
      // Like Modalities, every call generates a different text.
      seed: Date.now(),
      engine: 'tfjs',
      backend: 'wasm',
    })
  } finally {
    await close()
  }
}

/** The template with each `{name}` replaced by the user's input. */
async function fillTemplate(template: string): Promise<string> {
  const names = [...template.matchAll(/\{(.*?)\}/g)].map(match => match[1]!)
  if (names.length === 0) return template
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answers = new Map<string, string>()
    for (const name of names) answers.set(name, await lines.question(`${name}: `))
    return template.replaceAll(/\{(.*?)\}/g, (_, name: string) => answers.get(name)!)
  } finally {
    lines.close()
  }
}
