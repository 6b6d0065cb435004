/** Runs configs/quickstart.yaml and prints a report. */
import { fileURLToPath } from 'node:url'
import { openPackedFile } from '../../files/packed-file.js'
import { withStageOptions } from '../../pipelines/definition.js'
import type { PipelineResult } from '../../pipelines/run.js'
import { continueText } from '../../pipelines/text-model.js'
import type { TrainingEvent } from '../../training/training-events.js'
import { printOutput } from '../output/print.js'
import { bytes, count, quantity } from '../output/terminal.js'
import { openDefinition } from './open-definition.js'
import { runDefinition } from './run-definition.js'

const FOLDER = 'data/quickstart'
const PROMPT = 'The people of the United States'

export async function quickstart(flags: { readonly steps?: number; readonly backend: string }): Promise<void> {
  const file = fileURLToPath(new URL('../../../configs/quickstart.yaml', import.meta.url))
  const definition = withStageOptions(await openDefinition(file), 'feed-trainer', {
    backend: flags.backend,
    ...(flags.steps === undefined ? {} : { steps: flags.steps }),
  })
  const events: TrainingEvent[] = []
  const results = await runDefinition(definition, {}, (_stage, event) => events.push(event as TrainingEvent))
  const end = events.find(event => event.kind === 'end')
  if (end?.reason !== 'completed') return
  printOutput(await report(results, events))
}

async function report(results: readonly PipelineResult[], events: readonly TrainingEvent[]): Promise<string> {
  const evaluations = events.filter(event => event.kind === 'evaluation')
  const steps = events.filter(event => event.kind === 'step')
  const end = events.find(event => event.kind === 'end')!
  const entropy = await unigramEntropy(`${FOLDER}/sotu.pbin`)
  const text = await sampleText(end.checkpoint!)
  const lines = [
    '',
    'Results',
    ...results.map(resultLine),
    `  held-out loss     ${evaluations.map(({ step, loss }) => `${loss.toFixed(3)} (step ${count(step)})`).join(', ')} nats per token`,
    `  unigram entropy   ${entropy.toFixed(3)} nats per token; a lower loss means that the model uses context`,
    ...(steps.length > 0
      ? [`  training loss     ${steps[0]!.loss.toFixed(3)} -> ${steps.at(-1)!.loss.toFixed(3)}`]
      : []),
    `  files             ${FOLDER}/: tokenizer.json, sotu.idx, sotu.pbin, checkpoints/`,
    '',
    'Sample text',
    ...wrapped(text).map(line => `  ${line}`),
    '',
    'Next',
    `  npx penstock inspect ${FOLDER}/sotu.pbin --tokenizer ${FOLDER}/tokenizer.json`,
    `  npx penstock generate ${FOLDER}/checkpoints --prompt 'Fellow citizens' --temperature 0.7`,
    '  npx penstock train configs/train.yaml',
    '',
  ]
  return lines.join('\n')
}

function resultLine({ pipeline, stages, elapsedMs }: PipelineResult): string {
  const seconds = elapsedMs / 1000
  const records = Math.max(...stages.map(({ stats }) => Math.max(stats.recordsIn, stats.recordsOut)))
  // Count the tokens of the last stage only: a resumed training skips those it has already seen.
  const tokens = stages.at(-1)!.stats.counts.tokens ?? 0
  const read = stages[0]!.stats.bytesOut
  const what =
    pipeline === 'train' ? `${quantity(records, 'sample')}` : `${quantity(records, 'document')}, ${bytes(read)}`
  const rates = [
    pipeline === 'train' ? '' : `${count(records / seconds)} documents/s`,
    tokens > 0 ? `${quantity(tokens, 'token')}, ${count(tokens / seconds)} tokens/s` : '',
  ].filter(rate => rate !== '')
  return `  ${pipeline.padEnd(17)} ${what}, ${rates.join(', ')}, ${seconds.toFixed(1)} s`
}

async function sampleText(checkpoint: string): Promise<string> {
  let text = ''
  const options = {
    prompt: PROMPT,
    maxTokens: 80,
    temperature: 0.8,
    topK: 50,
    seed: 1,
    stop: false,
    engine: 'tfjs',
    backend: 'wasm',
  }
  for await (const piece of continueText(checkpoint, options)) text += piece
  return text
}

/** Entropy of the token frequencies: the lowest loss that a model without context can reach. */
async function unigramEntropy(path: string): Promise<number> {
  const file = await openPackedFile(path)
  try {
    const counts = new Map<number, number>()
    const chunkTokens = 1 << 20
    for (let start = 0; start < file.tokenCount; start += chunkTokens) {
      const tokens = file.readTokens(start, Math.min(chunkTokens, file.tokenCount - start))
      for (const token of tokens) counts.set(token, (counts.get(token) ?? 0) + 1)
    }
    let entropy = 0
    for (const occurrences of counts.values()) {
      const share = occurrences / file.tokenCount
      entropy -= share * Math.log(share)
    }
    return entropy
  } finally {
    await file.close()
  }
}

function wrapped(text: string): string[] {
  return (
    text
      .replaceAll(/\s+/g, ' ')
      .match(/.{1,96}(?= |$)/g)
      ?.map(line => line.trim()) ?? []
  )
}
