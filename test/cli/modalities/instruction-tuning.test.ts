/** Instruction tuning as in Modalities' tutorial: conversations, chat template, packing to one length, masked loss. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { byteTokenizer } from '../../stages/byte-tokenizer.js'
import { temporaryFolder } from '../../stages/support.js'
import { penstock } from '../support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const file = (name: string, content: string): string => {
  writeFileSync(at(name), content)
  return at(name)
}

const LENGTH = 48
/** Token ids of byteTokenizer: the bytes ^ and $, and the end-of-document token. */
const [BEGIN, END, END_OF_DOCUMENT] = [94, 36, 259]

const packConfig = (changes = ''): string => `settings:
  src_path: ""
  dst_path: ""
  index_path: ""
  jq_pattern: .chat
  num_cpus: 1
  eod_token: <|endoftext|>
  processing_batch_size: 5
  raw_samples_queue_size: 300
  processed_samples_queue_size: 300
  sequence_length: ${LENGTH}
tokenizer:
  component_key: tokenizer
  variant_key: pretrained_hf_tokenizer
  config:
    pretrained_model_name_or_path: .
    padding: max_length
    truncation: true
    max_length: \${settings.sequence_length}
    special_tokens:
      pad_token: \${settings.eod_token}
      additional_special_tokens: ["^", "$"]
${changes}`

const chatConfig = (source: string, output: string, pack = 'pack.yaml'): string => `settings:
  src_path: ${source}
  dst_path: ${output}/chats.jsonl
  messages_key: messages
  pbin_creation_config_file_path: ${pack}
  split_config: { splitting: { train: 100, val: 0, test: 0 }, seed: 1 }
instruction_data_transformation:
  role_mapping: { human: User, gpt: Assistant }
chat_template_data: { assistant: Assistant, begin: ^, end: $ }
jinja2_chat_template: |
  {% for turn in messages %}
  {{ turn.role + ':' }}
  {% if turn.role == chat_template_data.assistant %}
  {{ chat_template_data.begin + turn.content + chat_template_data.end }}
  {% else %}
  {{ turn.content + '\\n' }}
  {% endif %}
  {% endfor %}
`

const chat = (question: string, answer: string): string =>
  JSON.stringify({
    messages: [
      { role: 'human', content: question },
      { role: 'gpt', content: answer },
    ],
  })

/** Token ids of the only .pbin file in a folder, in blocks of the given length. */
function blocks(output: string, length: number): number[][] {
  const name = readdirSync(at(output), { recursive: true }).find(path => String(path).endsWith('.pbin'))
  const bytes = readFileSync(join(at(output), String(name)))
  const width = bytes.readUInt32LE(8)
  const count = Number(bytes.readBigUInt64LE(0)) / width
  const tokens = Array.from({ length: count }, (_, token) => bytes.readUIntLE(12 + token * width, width))
  return Array.from({ length: Math.ceil(count / length) }, (_, block) =>
    tokens.slice(block * length, (block + 1) * length),
  )
}

const prepare = (config: string, ...flags: string[]) =>
  penstock(['data', 'prepare_instruction_tuning_data', '--config_file_path', config, ...flags], folder)

beforeAll(() => {
  file('tokenizer.json', JSON.stringify(byteTokenizer()))
  file('pack.yaml', packConfig())
  mkdirSync(at('experiments'))
  const chats = Array.from({ length: 64 }, (_, number) => chat(`n${number % 7}?`, 'x'.repeat(1 + (number % 9))))
  file('chats.jsonl', `${chats.join('\n')}\n`)
})

describe('prepare_instruction_tuning_data', () => {
  it('packs one conversation per block, with special tokens around the answers', async () => {
    expect(await prepare(file('chat.yaml', chatConfig('chats.jsonl', 'out')), '--quiet')).toMatchObject({ code: 0 })
    const found = blocks('out', LENGTH)
    expect(found).toHaveLength(64)
    for (const [number, block] of found.entries()) {
      expect(block.slice(block.indexOf(BEGIN) + 1, block.indexOf(END))).toEqual(new Array(1 + (number % 9)).fill(120))
      expect(block.slice(block.indexOf(END) + 1).every(token => token === END_OF_DOCUMENT)).toBe(true)
    }
  })

  it('appends an end-of-document token to a truncated conversation unless --keep_length is given', async () => {
    file('long.jsonl', `${[chat('q', 'y'.repeat(99)), chat('q', 'z')].join('\n')}\n`)
    const config = file('long.yaml', chatConfig('long.jsonl', 'long'))
    await prepare(config, '--quiet')
    expect(blocks('long', LENGTH).flat()).toHaveLength(2 * LENGTH + 1)
    await prepare(config, '--quiet', '--keep_length')
    const kept = blocks('long', LENGTH)
    expect(kept.map(block => block.length)).toEqual([LENGTH, LENGTH])
    expect(kept[0]!.at(-1)).toBe(END_OF_DOCUMENT)
  })

  it('skips faulty conversations without changing the others', async () => {
    const good = Array.from({ length: 20 }, (_, number) => chat(`n${number}?`, 'ok'))
    const bad = ['{"messages": 5}', 'not JSON', '{"messages": [{"role": "other", "content": ""}]}', '']
    const mixed = good.flatMap((line, number) => (number % 5 === 2 ? [line, bad[(number - 2) / 5]!] : [line]))
    file('good.jsonl', `${good.join('\n')}\n`)
    file('mixed.jsonl', `${mixed.join('\n')}\n`)
    await prepare(file('good.yaml', chatConfig('good.jsonl', 'good')), '--quiet')
    const config = file('mixed.yaml', chatConfig('mixed.jsonl', 'mixed'))
    expect(await prepare(config, '--quiet')).toMatchObject({ code: 1, err: expect.stringContaining('mixed.jsonl:4') })
    const { code, err } = await prepare(config, '--quarantine', 'bad.jsonl')
    expect(code, err).toBe(0)
    expect(err).toContain('4 faulty records skipped')
    expect(blocks('mixed', LENGTH)).toEqual(blocks('good', LENGTH))
    const entries = readFileSync(at('bad.jsonl'), 'utf8').trimEnd().split('\n')
    expect(entries.map(entry => JSON.parse(entry).line)).toEqual([4, 10, 16, 22])
    expect(entries.map(entry => Buffer.from(JSON.parse(entry).record, 'base64').toString())).toEqual(bad)
  })
})

describe('pack_encoded_data', () => {
  it.each([
    ['a token missing from the vocabulary', packConfig('      cls_token: "[CLS]"\n'), 'TOKENIZER_MISMATCH'],
    ['an unknown special token name', packConfig('      other_token: "^"\n'), 'CONFIG_INVALID'],
    ['an unknown padding', packConfig().replace('padding: max_length', 'padding: longer'), 'CONFIG_INVALID'],
    ['padding without a pad token', packConfig().replace(/ {6}pad_token: .*\n/, ''), 'CONFIG_INVALID'],
  ])('rejects %s before anything is written', async (name, config, code) => {
    const output = `${name.replaceAll(' ', '-')}.pbin`
    const path = file('refused.yaml', config.replace('dst_path: ""', `dst_path: ${output}`))
    const { err } = await penstock(['data', 'pack_encoded_data', path], folder)
    expect(err).toContain(code)
    expect(readdirSync(folder)).not.toContain(output)
  })

  it('pads an empty text instead of rejecting the record', async () => {
    file('empty.jsonl', '{"chat": "a"}\n{"chat": ""}\n{"chat": 5}\n{"chat": "b"}\n')
    const config = packConfig()
      .replace('src_path: ""', 'src_path: empty.jsonl')
      .replace('dst_path: ""', 'dst_path: empty/empty.pbin')
      .replace('index_path: ""', 'index_path: empty.idx')
    await penstock(['data', 'create_raw_index', 'empty.jsonl'], folder)
    const { code, err } = await penstock(
      ['data', 'pack_encoded_data', file('empty.yaml', config), '--faulty', 'skip'],
      folder,
    )
    expect(code, err).toBe(0)
    const filled = (token: number) => [token, ...new Array(LENGTH - 1).fill(END_OF_DOCUMENT)]
    expect(blocks('empty', LENGTH)).toEqual([filled(97), filled(END_OF_DOCUMENT), filled(98)])
  })
})

const COLLATOR = `
collate_fn:
  component_key: collate_fn
  variant_key: mask_loss_collator_wrapper
  config:
    wrapped_collate_fn:
      component_key: collate_fn
      variant_key: gpt_2_llm_collator
      config: { sample_key: input_ids, target_key: target_ids }
    target_keys_to_mask: [target_ids]
    loss_ignore_index: -100
    mask_tokens: { b_include_to_loss_token: ^, e_include_to_loss_token: $ }
    tokenizer:
      component_key: tokenizer
      variant_key: pretrained_hf_tokenizer
      config:
        pretrained_model_name_or_path: .
        padding: false
        truncation: false
        special_tokens: { additional_special_tokens: ["^", "$"] }
`

/** The training file of the tests, for the packed conversations, one rank and a new run. */
function trainingConfig({ mask, reuse = false }: { mask: boolean; reuse?: boolean }): string {
  const packed = readdirSync(at('out'), { recursive: true }).find(path => String(path).endsWith('.pbin'))
  const text = readFileSync(new URL('../../modalities/training.yaml', import.meta.url), 'utf8')
    .replaceAll('dp_degree: 4', 'dp_degree: 1')
    .replace('num_replicas: 4', 'num_replicas: 1')
    .replace('evaluation_interval_in_steps: 8', 'evaluation_interval_in_steps: 4')
    .replace(/variant_key: to_disc\n {2}config: .*/, 'variant_key: dummy\n  config: {}')
    .replaceAll('sequence_length: 16', `sequence_length: ${LENGTH}`)
    .replace('vocab_size: 256', 'vocab_size: 384')
    .replace('train_dataset_path: train.pbin', `train_dataset_path: out/${packed}`)
    .replace(
      'sample_key: input_ids }\n\ntrain_dataloader',
      `sample_key: input_ids, reuse_last_target: ${reuse} }\n\ntrain_dataloader`,
    )
    .replace(
      /training_progress:.*?\n\ntrain_dataset/s,
      'training_progress: { global_num_seen_tokens: 0, num_seen_steps: 0, num_seen_samples: 0, last_step: -1 }\n\ntrain_dataset',
    )
    .replace(
      /\napp_state:.*?\ngradient_clipper/s,
      `
app_state:
  component_key: app_state
  variant_key: raw
  config:
    model: { instance_key: model, pass_type: BY_REFERENCE }
    optimizer: { instance_key: optimizer, pass_type: BY_REFERENCE }

gradient_clipper`,
    )
  if (!mask) return text
  const collate = 'collate_fn: { instance_key: collate_fn, pass_type: BY_REFERENCE }'
  return text.replaceAll(/( +)num_workers: 0\n/g, `$&$1${collate}\n`).concat(COLLATOR)
}

describe('run', { timeout: 240_000 }, () => {
  const run = async (id: string, config: string) => {
    const path = file(`${id}.yaml`, config)
    const args = ['--experiments_root_path', 'experiments', '--experiment_id', id]
    return penstock(['run', '--config_file_path', path, ...args], folder)
  }
  const losses = (id: string, name: string): number[] =>
    readFileSync(at(`experiments/${id}/log.jsonl`), 'utf8')
      .trimEnd()
      .split('\n')
      .flatMap(line => JSON.parse(line).values?.[name] ?? [])

  it('computes the loss on answers only', async () => {
    const masked = await run('masked', trainingConfig({ mask: true }))
    expect(masked.code, masked.err).toBe(0)
    expect(masked.err).not.toMatch(/differs:.*mask/)
    const plain = await run('plain', trainingConfig({ mask: false }))
    expect(plain.code, plain.err).toBe(0)
    const [answers, all] = [losses('masked', 'train/loss'), losses('plain', 'train/loss')]
    expect(answers).toHaveLength(6)
    expect(answers.at(-1)).toBeLessThan(answers[0]!)
    // Blocks are mostly padding, which is much easier to predict than the answers.
    expect(answers).not.toEqual(all)
    expect(losses('masked', 'held_out/loss').at(-1)).not.toBe(losses('plain', 'held_out/loss').at(-1))
  })

  it('reports blocks that start inside a conversation', async () => {
    const shifted = await run(
      'shifted',
      trainingConfig({ mask: true, reuse: true }).replace(/sequence_length: 48/g, 'sequence_length: 40'),
    )
    expect(shifted).toMatchObject({ code: 2, err: expect.stringMatching(/end token 36 without a begin token/) })
  })
})
