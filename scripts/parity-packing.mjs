// Packing with lengths and special tokens: compares the packed files of the same configuration byte by byte.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pythonRandom } from '../dist/sampling/python-random.js'

const END = '<|endoftext|>'
const CHAT = { pad_token: END, additional_special_tokens: ['^', '$', '°'] }

/** Tokenizer, its options, and the end-of-document token if it is not the default. */
const CASES = {
  'the shipped chat configuration': [
    'gpt2',
    { padding: 'max_length', truncation: true, max_length: 64, special_tokens: CHAT },
  ],
  'a length beyond that of all documents': [
    'gpt2',
    { padding: 'max_length', truncation: true, max_length: 5000, special_tokens: CHAT },
  ],
  'padded, not truncated': ['gpt2', { padding: 'max_length', max_length: 40, special_tokens: { pad_token: END } }],
  'padded with another token': [
    'gpt2',
    { padding: 'max_length', truncation: true, max_length: 40, special_tokens: { pad_token: '!' } },
  ],
  'truncated, not padded': ['gpt2', { truncation: true, max_length: 17 }],
  'truncated to one token': ['gpt2', { truncation: true, max_length: 1 }],
  'only a length': ['gpt2', { max_length: 10 }],
  "truncated to the tokenizer's own length": ['gpt2', { truncation: true }],
  'padded and truncated to the own length': [
    'gpt2',
    { padding: 'max_length', truncation: true, special_tokens: { pad_token: END } },
  ],
  'padded to the longest': ['gpt2', { padding: true, special_tokens: { pad_token: END } }],
  'padded to the longest, by name': [
    'gpt2',
    { padding: 'longest', truncation: true, max_length: 30, special_tokens: { pad_token: '$' } },
  ],
  do_not_pad: ['gpt2', { padding: 'do_not_pad', truncation: true, max_length: 30 }],
  'vocabulary words as special tokens': [
    'gpt2',
    { special_tokens: { additional_special_tokens: ['the', 'ing', 'Ġquick', '0'] } },
  ],
  'every name of a special token': [
    'gpt2',
    {
      special_tokens: {
        bos_token: 'a',
        eos_token: 'e',
        unk_token: 'u',
        sep_token: 's',
        cls_token: 'c',
        mask_token: 'm',
        pad_token: 'p',
      },
    },
  ],
  'a special token as the end': ['gpt2', { special_tokens: { eos_token: '^' } }, '^'],
  'template tokens, left': ['around', { padding: 'max_length', truncation: true, max_length: 20 }],
  'template tokens, left, truncated': ['around', { truncation: true, max_length: 20 }],
  'template tokens, no room for text': ['around', { padding: 'max_length', truncation: true, max_length: 3 }],
  'template tokens, no room at all': ['around', { padding: 'max_length', truncation: true, max_length: 2 }],
  "template tokens, the tokenizer's own length": ['around', { padding: 'max_length', truncation: true }],
  'template tokens, unchanged': ['around', {}],
  'a new token of the folder': ['named', { padding: 'max_length', truncation: true, max_length: 33 }],
  'new tokens of the folder, unchanged': ['named', {}],
  'tokens of the map of special tokens': ['mapped', { padding: 'max_length', max_length: 33 }],
  'tokens with flags replaced by plain ones': [
    'mapped',
    { special_tokens: { additional_special_tokens: ['quick', 'Hello'] } },
  ],
}

const BAD = {
  'a token not in the vocabulary': ['gpt2', { special_tokens: { pad_token: '[PAD]' } }],
  'an unknown name of a special token': ['gpt2', { special_tokens: { other_token: END } }],
  'one text for several tokens': ['gpt2', { special_tokens: { additional_special_tokens: END } }],
  'a list for one token': ['gpt2', { special_tokens: { pad_token: [END] } }],
  'an end token not in the vocabulary': ['named', {}, 'no such token'],
}

const SENTENCEPIECE = Object.fromEntries(
  ['bpe-bytes', 'bpe-rules', 'unigram-bytes', 'unigram-rules'].map(model => [
    `SentencePiece ${model}`,
    [model, {}, '</s>'],
  ]),
)

export function packingChecks({ root, folder: parent, quick }) {
  const gpt2 = join(root, '..', 'shared', 'reference', 'hf_gpt2')
  if (!existsSync(gpt2)) {
    process.stdout.write('No tokenizer in ../shared/reference/hf_gpt2: packing with lengths is not compared\n')
    return []
  }
  const folder = join(parent, 'packing')
  mkdirSync(folder)
  const tokenizers = { gpt2, ...madeTokenizers(gpt2, folder) }
  const source = join(folder, 'texts.jsonl')
  writeFileSync(source, texts(quick ? 60 : 400))
  const penstock = args => spawnSync(process.execPath, [join(root, 'dist', 'cli', 'main.js'), ...args, '--quiet'])
  penstock(['data', 'create_raw_index', source])
  const check = ([name, [tokenizer, options, end = END]], at) => {
    const [ours, theirs] = ['ours', 'reference'].map(side => join(folder, `${at}.${side}.pbin`))
    const component =
      name in SENTENCEPIECE ? sentencePiece(root, tokenizer) : huggingFace(tokenizers[tokenizer], options)
    const config = output => configFor(source, output, end, component)
    return {
      name: `pack: ${name}`,
      job: { do: 'pack', config: config(theirs) },
      ours: answer => {
        const path = join(folder, `${at}.yaml`)
        writeFileSync(path, JSON.stringify(config(ours)))
        const { status, stderr } = penstock(['data', 'pack_encoded_data', path])
        if (name in BAD) return [status === 0, answer.error === undefined]
        if (status !== 0) throw new Error(String(stderr))
        return [readFileSync(ours), answer.error ?? readFileSync(theirs)]
      },
    }
  }
  return Object.entries({ ...CASES, ...BAD, ...SENTENCEPIECE }).map(check)
}

const huggingFace = (folder, options) => ({
  ...{ component_key: 'tokenizer', variant_key: 'pretrained_hf_tokenizer' },
  config: { pretrained_model_name_or_path: folder, ...options },
})

const sentencePiece = (root, name) => ({
  ...{ component_key: 'tokenizer', variant_key: 'pretrained_sp_tokenizer' },
  config: { tokenizer_model_file: join(root, 'test', 'fixtures', 'sentencepiece', `${name}.model`) },
})

function configFor(source, output, end, tokenizer) {
  return {
    settings: {
      ...{
        src_path: source,
        dst_path: output,
        index_path: source.replace('jsonl', 'idx'),
        jq_pattern: '.text',
        num_cpus: 1,
      },
      ...{ eod_token: end, processing_batch_size: 7, raw_samples_queue_size: 300, processed_samples_queue_size: 300 },
    },
    tokenizer,
  }
}

/** GPT-2's vocabulary in folders with more settings: template tokens, padding sides, lengths, added tokens. */
function madeTokenizers(gpt2, parent) {
  const make = (name, { json = {}, config = {}, map }) => {
    const folder = join(parent, name)
    mkdirSync(folder)
    for (const file of ['vocab.json', 'merges.txt']) cpSync(join(gpt2, file), join(folder, file))
    const own = JSON.parse(readFileSync(join(gpt2, 'tokenizer.json')))
    writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify({ ...own, ...json }))
    writeFileSync(
      join(folder, 'tokenizer_config.json'),
      JSON.stringify({ tokenizer_class: 'PreTrainedTokenizerFast', ...config }),
    )
    if (map !== undefined) writeFileSync(join(folder, 'special_tokens_map.json'), JSON.stringify(map))
    return folder
  }
  const special = id => ({ SpecialToken: { id, type_id: 0 } })
  const template = {
    ...{
      type: 'TemplateProcessing',
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
    },
    single: [special('!'), special('"'), { Sequence: { id: 'A', type_id: 0 } }, special(END)],
    special_tokens: Object.fromEntries(
      [
        ['!', 0],
        ['"', 1],
        [END, 50256],
      ].map(([id, at]) => [id, { id, ids: [at], tokens: [id] }]),
    ),
  }
  const flagged = (content, flags) => ({
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: true,
    special: true,
    ...flags,
  })
  const end = { id: 50256, ...flagged(END, {}) }
  return {
    around: make('around', {
      json: { post_processor: template },
      config: { truncation_side: 'left', padding_side: 'left', pad_token: '#', model_max_length: 25 },
    }),
    named: make('named', {
      config: {
        ...{ pad_token: '[PAD]', additional_special_tokens: ['the', '[NEW]'], model_max_length: 1e30 },
        added_tokens_decoder: { 50256: end },
      },
    }),
    mapped: make('mapped', {
      json: {
        added_tokens: [
          end,
          { id: 50257, ...flagged('quick', { lstrip: true }) },
          { id: 15496, ...flagged('Hello', { single_word: true }) },
        ],
        padding: {
          ...{ strategy: 'BatchLongest', direction: 'Left', pad_to_multiple_of: null },
          pad_id: 9,
          pad_type_id: 0,
          pad_token: '*',
        },
      },
      map: {
        eos_token: END,
        sep_token: '^',
        pad_token: { content: '[MAP]', ...{ single_word: false, lstrip: false, rstrip: false, normalized: false } },
      },
    }),
  }
}

const PIECES = [
  'the ',
  'quick ',
  'Hello',
  ' hello',
  '^',
  '$',
  '°',
  'ing',
  '0',
  '!',
  END,
  '[PAD]',
  '[NEW]',
  '[MAP]',
  'ünï ',
  '中文',
  '😀',
  '\n',
  '  ',
  'a',
  'use',
]

/** Texts of every length, but none without tokens: Modalities would lose the adjacent texts. */
function texts(count) {
  const random = pythonRandom(77)
  const lines = Array.from({ length: count }, (_, at) => {
    const length = 1 + (at % 10 === 0 ? 600 : Math.floor(random.random() * 60))
    const text = Array.from({ length }, () => PIECES[Math.floor(random.random() * PIECES.length)]).join('')
    return JSON.stringify({ text: `${text}x` })
  })
  return `${lines.join('\n')}\n`
}
