/** Exported folders, as transformers loads them: skipped unless `node scripts/setup-python.mjs peers` was run. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { convertBack, convertCheckpoint } from '#src/cli/actions/convert'
import { checkDefinition } from '#src/pipelines/check'
import { readDefinition } from '#src/pipelines/read-definition'
import { runPipeline } from '#src/pipelines/run'
import { continueText } from '#src/pipelines/text-model'
import { openCheckpoint } from '#src/training/checkpoint'
import { type ModelInput, parseTraining } from '#src/training/options'
import { openTrainer } from '#src/training/trainer'
import { openTokenizer } from '#src/workers/tokenizer/load-tokenizer'
import { peersPython } from '../monitoring/fixtures.js'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { added } from '../tokenizer/trained.js'
import { countingBatch, openTiny, tiny } from '../training/fixtures.js'
import { penstock } from './support.js'

const python = peersPython()
const folder = temporaryFolder()
const at = (...names: string[]): string => join(folder, ...names)
const texts = ['The people  of', '  lead\n', 'é \u00e9', `a ${END} b`, '']
const BEGIN = '<|begin_of_text|>'

/** Prints what the two lines that users write give, and the greedy continuation of the first text. */
const program = `
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
for folder in sys.argv[2:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    texts = json.loads(sys.argv[1])
    config = model.generation_config
    inputs = tokenizer(texts[0], return_tensors="pt")
    # Penstock never generates the ids that only pad the vocabulary; a trained model gives them no probability.
    padding = list(range(len(tokenizer), model.config.vocab_size))
    greedy = model.generate(**inputs, max_new_tokens=5, do_sample=False, suppress_tokens=padding)[0].tolist()
    print(json.dumps({
        "ids": [tokenizer(text).input_ids for text in texts],
        "special": [tokenizer.bos_token_id, tokenizer.eos_token_id, config.bos_token_id, config.eos_token_id],
        "config": [model.config.bos_token_id, model.config.eos_token_id],
        "maxLength": tokenizer.model_max_length,
        "text": tokenizer.decode(greedy),
    }))
`

const level = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
const tokens = [END, BEGIN, '<|im_end|>'].map((content, index) => added(content, { id: 259 + index }))
const beginTemplate = {
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: BEGIN, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
  pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
  special_tokens: { [BEGIN]: { id: BEGIN, ids: [260], tokens: [BEGIN] } },
}
const qwenPattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s+"

interface Kind {
  readonly file: string
  readonly json: object
  /** tokenizer_config.json next to it. */
  readonly config?: object
  readonly begin: number | null
}

const kinds: Readonly<Record<string, Kind>> = {
  'a plain byte-level one': { file: 'my-tokenizer.json', json: {}, begin: null },
  'one that prepends a space': {
    file: 'tokenizer.json',
    json: { pre_tokenizer: { ...level, add_prefix_space: true } },
    begin: null,
  },
  'one like that of Llama 3': {
    file: 'tokenizer.json',
    json: { added_tokens: tokens, post_processor: { type: 'Sequence', processors: [level, beginTemplate] } },
    config: {
      tokenizer_class: 'LlamaTokenizer',
      add_bos_token: true,
      bos_token: { content: BEGIN },
      eos_token: '</s>',
    },
    begin: 260,
  },
  'one like that of Qwen': {
    file: 'tokenizer.json',
    json: {
      added_tokens: tokens,
      normalizer: { type: 'NFC' },
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: qwenPattern }, behavior: 'Isolated', invert: false },
          { ...level, use_regex: false },
        ],
      },
    },
    config: { tokenizer_class: 'Qwen2Tokenizer', bos_token: null, eos_token: '<|im_end|>', chat_template: 'x' },
    begin: null,
  },
}

let checkpoint: string
/** A model in the layout of Qwen3. */
let qwen3: string

async function trained(name: string, more: ModelInput = {}): Promise<string> {
  const training = parseTraining({ batch_size: 4, steps: 3, checkpoint: { folder: at(name) } })
  const changes = { vocab_size: 384, sequence_length: 64, ...more }
  const engine = await openTiny(changes)
  const trainer = await openTrainer({ training, model: tiny(changes), engine })
  for (let number = 0; (await trainer.offer(countingBatch(number, 4, 65))) !== 'done'; number++);
  await engine.close()
  return at(name, readdirSync(at(name))[0]!)
}

/** Runs the quickstart's definition on a small corpus for a few steps. @returns the folder of its checkpoints */
async function quickstartCheckpoints(): Promise<string> {
  mkdirSync(at('quickstart'))
  const corpus = at('quickstart', 'corpus.jsonl')
  const sentence = (number: number) => `The people of state ${number % 7} lead themselves for the ${number}th year. `
  const documents = Array.from({ length: 60 }, (_, at) => ({ text: sentence(at) + sentence(at * at) }))
  writeFileSync(corpus, documents.map(document => `${JSON.stringify(document)}\n`).join(''))
  const file = 'configs/quickstart.yaml'
  const sizes = { vocab_size: 400, sequence_length: 16, batch_size: 2, steps: 4 }
  const definition = readDefinition(readFileSync(file, 'utf8'), file, { folder: at('quickstart'), corpus, ...sizes })
  for (const pipeline of checkDefinition(definition)) await runPipeline(pipeline)
  return at('quickstart', 'checkpoints')
}

beforeAll(async () => {
  checkpoint = await trained('checkpoints')
  qwen3 = await trained('qwen3', { qk_norm: true })
  for (const [name, { file, json, config }] of Object.entries(kinds)) {
    mkdirSync(at(name))
    writeFileSync(at(name, file), JSON.stringify({ ...byteTokenizer(), ...json }))
    if (config !== undefined) writeFileSync(at(name, 'tokenizer_config.json'), JSON.stringify(config))
  }
})

/** What `penstock generate` prints for the first text. */
async function greedyText(model: string, tokenizer?: string): Promise<string> {
  const options = { maxTokens: 5, temperature: 0, stop: false, seed: 0, engine: 'tfjs', backend: 'wasm' }
  let text = ''
  for await (const piece of continueText(model, { ...options, prompt: texts[0]!, ...(tokenizer && { tokenizer }) }))
    text += piece
  return text
}

const modelOf = (name: string): string => (name.includes('Qwen') ? qwen3 : checkpoint)

describe('convert', () => {
  it.skipIf(python === undefined)(
    'writes folders that give the same ids, special tokens and greedy text in transformers',
    async () => {
      for (const [name, { file }] of Object.entries(kinds)) {
        const tokenizer = at(name, file)
        await convertCheckpoint(modelOf(name), at(name, 'hf'), { tokenizer, endOfDocument: END })
      }
      const quickstart = await quickstartCheckpoints()
      await convertCheckpoint(quickstart, at('quickstart-hf'))
      const folders = [...Object.keys(kinds).map(name => at(name, 'hf')), at('quickstart-hf')]
      const { stdout, stderr } = spawnSync(python!, ['-c', program, JSON.stringify(texts), ...folders], {
        encoding: 'utf8',
      })
      const found = stdout.trim().split('\n')
      expect(found, stderr).toHaveLength(folders.length)
      for (const [index, [name, { file, begin }]] of Object.entries(kinds).entries()) {
        const path = at(name, file)
        const { tokenizer } = await openTokenizer(path)
        const text = await greedyText(modelOf(name), path)
        expect(JSON.parse(found[index]!), name).toEqual({
          ids: texts.map(text => [...tokenizer.encode(text)]),
          special: [begin, 259, begin, 259],
          config: [begin, 259],
          maxLength: 64,
          text,
        })
      }
      // Without a tokenizer given: that of the run, which the checkpoint contains.
      const { tokenizer } = await openTokenizer(at('quickstart', 'tokenizer.json'))
      expect(JSON.parse(found.at(-1)!)).toMatchObject({
        ids: texts.map(text => [...tokenizer.encode(text)]),
        maxLength: 16,
        text: await greedyText(quickstart),
      })
    },
    180_000,
  )

  it('keeps an existing folder unless --if-exists says otherwise', async () => {
    const target = at('existing')
    mkdirSync(target)
    writeFileSync(join(target, 'config.json'), 'mine')
    writeFileSync(join(target, 'added_tokens.json'), 'stale')
    const args = ['convert', checkpoint, target]
    for (const back of [[], ['--back'], ['--modalities', 'none.yaml']]) {
      const { code, err } = await penstock([...args, ...back])
      expect({ code, err }).toMatchObject({ code: 1, err: expect.stringContaining('[FILE_EXISTS]') })
    }
    expect(await penstock([...args, '--if-exists', 'skip'])).toMatchObject({ code: 0 })
    expect(readFileSync(join(target, 'config.json'), 'utf8')).toBe('mine')
    const { code, out } = await penstock([...args, '--if-exists', 'override'])
    expect(code).toBe(0)
    expect(out).toContain('exported without a tokenizer')
    const files = ['README.md', 'config.json', 'generation_config.json', 'model.safetensors']
    expect(readdirSync(target).toSorted()).toEqual(files)
    expect(JSON.parse(readFileSync(join(target, 'config.json'), 'utf8'))).toMatchObject({ eos_token_id: null })
  })

  it('writes a model card with facts of the run, and keeps any other README.md', async () => {
    const card = at('card', 'README.md')
    await convertCheckpoint(qwen3, at('card'), { dtype: 'BF16' })
    const text = readFileSync(card, 'utf8')
    for (const fact of [
      '| Layout | Qwen3 |',
      '| Steps | 3 of 3 |',
      '| Tokens trained on | 768 |',
      '| Weights | BF16 |',
    ]) {
      expect(text).toContain(fact)
    }
    await convertCheckpoint(checkpoint, at('card'))
    expect(readFileSync(card, 'utf8')).toContain('| Layout | Llama |')
    writeFileSync(card, 'mine')
    await convertCheckpoint(checkpoint, at('card'))
    expect(readFileSync(card, 'utf8')).toBe('mine')
  })

  it('completes an interrupted export', async () => {
    mkdirSync(at('interrupted'))
    for (const name of ['model.safetensors', 'tokenizer.json.part']) writeFileSync(at('interrupted', name), '')
    expect(await penstock(['convert', checkpoint, at('interrupted')])).toMatchObject({ code: 0 })
  })

  it('does not replace the checkpoint or the tokenizer that it reads', async () => {
    const name = 'one like that of Qwen'
    const before = readFileSync(at(name, 'tokenizer.json'))
    const sameTokenizer = ['--tokenizer', at(name, 'tokenizer.json')]
    for (const args of [[checkpoint], [at(name), ...sameTokenizer]]) {
      const result = await penstock(['convert', checkpoint, ...args, '--if-exists', 'override'])
      expect(result).toMatchObject({ code: 2, err: expect.stringContaining('[FILE_IS_SOURCE]') })
    }
    expect(readFileSync(at(name, 'tokenizer.json')).equals(before)).toBe(true)
    await openCheckpoint(checkpoint)
  })

  it('rejects a tokenizer without the end token, before it writes anything', async () => {
    const tokenizer = at('a plain byte-level one', 'my-tokenizer.json')
    await expect(
      convertCheckpoint(checkpoint, at('none'), { tokenizer, endOfDocument: '<none>' }),
    ).rejects.toMatchObject({ code: 'TOKENIZER_MISMATCH' })
    expect(readdirSync(folder)).not.toContain('none')
  })

  it('brings the end token and the tokenizer back', async () => {
    const tokenizer = at('a plain byte-level one', 'my-tokenizer.json')
    await convertCheckpoint(checkpoint, at('there'), { tokenizer, endOfDocument: END })
    await convertBack(at('there'), at('back'), undefined)
    const { state } = await openCheckpoint(at('back', 'step-000000'))
    expect(state).toMatchObject({ endOfDocumentId: 259, tokenizer: { path: at('there', 'tokenizer.json') } })
  })
})
