import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkDefinition } from '#src/pipelines/check'
import { definitionOf } from '#src/pipelines/definition'
import { runPipeline } from '#src/pipelines/run'
import { byteTokenizer } from '../../stages/byte-tokenizer.js'
import { temporaryFolder } from '../../stages/support.js'

interface Told {
  readonly kind: string
  readonly step: number
  readonly loss?: number
  readonly text?: string
}

async function packed(folder: string): Promise<void> {
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(byteTokenizer()))
  writeFileSync(
    join(folder, 'a.jsonl'),
    `${JSON.stringify({ text: 'one line after another line. '.repeat(200) })}\n`.repeat(4),
  )
  const stages = [
    { 'read-file': { path: join(folder, 'a.jsonl') } },
    'read-lines',
    { 'extract-text': {} },
    { 'tokenize-batches': { tokenizer: join(folder, 'tokenizer.json'), workers: 1 } },
    { 'write-pbin': { path: join(folder, 'a.pbin') } },
  ]
  await runPipeline(checkDefinition(definitionOf({ stages }))[0]!)
}

async function train(folder: string, changes: object): Promise<Told[]> {
  const stages = [
    { 'shuffle-samples': { path: join(folder, 'a.pbin'), sequence_length: 8, batch_size: 4, epochs: 'endless' } },
    {
      'feed-trainer': {
        tokenizer: join(folder, 'tokenizer.json'),
        steps: 12,
        batch_size: 4,
        accumulation_steps: 2,
        log_every_steps: 1,
        model: { sequence_length: 8, layers: 1, heads: 2, width: 16 },
        checkpoint: { folder: join(folder, 'checkpoints'), every_steps: 100 },
        ...changes,
      },
    },
  ]
  const told: Told[] = []
  const [pipeline] = checkDefinition(definitionOf({ stages }))
  await runPipeline(pipeline!, { onReport: (_, event) => told.push(event as Told) })
  return told
}

const textsOf = (told: readonly Told[]) => told.filter(event => event.kind === 'sample-text')
const lossesOf = (told: readonly Told[]) => told.filter(event => event.kind === 'step').map(event => event.loss)

describe('sample texts', () => {
  it('are generated at their interval, begin with the prompt and do not affect training', async () => {
    const [folder, other] = [temporaryFolder(), temporaryFolder()]
    await packed(folder)
    await packed(other)
    const told = await train(folder, { sample_texts: { prompt: 'one', every_steps: 5, max_tokens: 6 } })
    expect(textsOf(told).map(event => event.step)).toEqual([5, 10])
    for (const { text } of textsOf(told)) expect(text).toMatch(/^one.+/s)
    expect(lossesOf(told)).toEqual(lossesOf(await train(other, {})))
    // A resumed run generates none for earlier steps.
    const more = await train(folder, { steps: 15, sample_texts: { prompt: 'one', every_steps: 1, max_tokens: 2 } })
    expect(textsOf(more).map(event => event.step)).toEqual([13, 14, 15])
  })

  it('require a tokenizer, checked before the run', () => {
    const options = { sample_texts: { prompt: 'one' }, model: { vocab_size: 12 } }
    const stages = [{ 'shuffle-samples': { path: 'a.pbin', sequence_length: 8 } }, { 'feed-trainer': options }]
    expect(() => checkDefinition(definitionOf({ stages }))).toThrow('needs the option tokenizer')
  })
})
