/** Checkpoints contain their tokenizer, so that a moved one still generates and converts. */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { convertCheckpoint } from '#src/cli/actions/convert'
import { continueText } from '#src/pipelines/text-model'
import { openCheckpoint, saveCheckpoint } from '#src/training/checkpoint'
import { checkpointTokenizerNames } from '#src/training/checkpoint-tokenizer'
import { parseTraining } from '#src/training/options'
import { openTrainer } from '#src/training/trainer'
import { tokenizerReference } from '#src/workers/tokenizer/load-tokenizer'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { countingBatch, openTiny, tiny } from './fixtures.js'

const folder = temporaryFolder()
const at = (...names: string[]): string => join(folder, ...names)
const config = JSON.stringify({ eos_token: END, chat_template: 'a template' })
const options = { prompt: 'abc', maxTokens: 4, temperature: 0, seed: 0, stop: false, engine: 'tfjs', backend: 'wasm' }

/** Trains up to a step and returns the checkpoint's path. */
async function train(steps: number): Promise<string> {
  const training = parseTraining({ batch_size: 4, steps, checkpoint: { folder: at('checkpoints'), keep: null } })
  const changes = { vocab_size: 384, sequence_length: 64 }
  const engine = await openTiny(changes)
  const tokenizer = { path: at('tokenizer', 'tokenizer.json'), sha256 }
  const setup = { training, model: tiny(changes), engine, tokenizer, resume: 'latest' } as const
  const trainer = await openTrainer(setup)
  for (let number = trainer.step; (await trainer.offer(countingBatch(number, 4, 65))) !== 'done'; number++);
  await engine.close()
  return at('checkpoints', `step-${String(steps).padStart(6, '0')}`)
}

async function textOf(checkpoint: string): Promise<string> {
  let text = ''
  for await (const part of continueText(checkpoint, options)) text += part
  return text
}

let sha256: string
let first: string

beforeAll(async () => {
  mkdirSync(at('tokenizer'))
  writeFileSync(at('tokenizer', 'tokenizer.json'), JSON.stringify(byteTokenizer()))
  writeFileSync(at('tokenizer', 'tokenizer_config.json'), config)
  sha256 = (await tokenizerReference(at('tokenizer'))).sha256
  first = await train(1)
})

describe('the tokenizer of a checkpoint', () => {
  it('is copied with its configuration, and both are hashed', async () => {
    const { state } = await openCheckpoint(first)
    expect(state.files['tokenizer.json']!.sha256).toBe(sha256)
    expect(readFileSync(join(first, 'tokenizer_config.json'), 'utf8')).toBe(config)
    writeFileSync(join(first, 'tokenizer_config.json'), config.replace('template', 'Template'))
    await expect(openCheckpoint(first)).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
    writeFileSync(join(first, 'tokenizer_config.json'), config)
  })

  it('is used by generate and convert after the checkpoint was moved and the original was removed', async () => {
    const expected = await textOf(first)
    renameSync(at('tokenizer'), at('elsewhere'))
    renameSync(first, at('moved'))
    expect(await textOf(at('moved'))).toBe(expected)
    await convertCheckpoint(at('moved'), at('export'))
    const exported = JSON.parse(readFileSync(at('export', 'tokenizer_config.json'), 'utf8'))
    expect(exported).toMatchObject({ eos_token: END, chat_template: 'a template' })
    renameSync(at('moved'), first)
    renameSync(at('elsewhere'), at('tokenizer'))
  })

  it('is copied from the previous checkpoint if the original changed during the training', async () => {
    const changed = JSON.stringify({ ...byteTokenizer(), changed: true })
    writeFileSync(at('tokenizer', 'tokenizer.json'), changed)
    const second = await train(2)
    expect((await openCheckpoint(second)).state.files['tokenizer.json']!.sha256).toBe(sha256)
    writeFileSync(at('tokenizer', 'tokenizer.json'), JSON.stringify(byteTokenizer()))
  })

  it('may be missing, as in checkpoints of earlier versions: then the original is used', async () => {
    const expected = await textOf(first)
    const { state } = await openCheckpoint(first)
    const files = Object.entries(state.files).filter(([name]) => !checkpointTokenizerNames.includes(name))
    rmSync(at('tokenizer'), { recursive: true })
    const saveState = async (into: string): Promise<string[]> => {
      for (const [name] of files) writeFileSync(join(into, name), readFileSync(join(first, name)))
      return files.map(([name]) => name)
    }
    const { version: _, files: __, ...rest } = state
    const old = await saveCheckpoint(at('old'), null, { isPrimary: true, saveState }, rest)
    expect(readdirSync(old)).not.toContain('tokenizer.json')
    await expect(textOf(old)).rejects.toMatchObject({ code: 'FILE_MISSING' })
    mkdirSync(at('tokenizer'))
    writeFileSync(at('tokenizer', 'tokenizer.json'), JSON.stringify(byteTokenizer()))
    expect(await textOf(old)).toBe(expected)
  })
})
