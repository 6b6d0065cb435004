// Runs Modalities' commands and ours of the same name on the same inputs and compares the output files byte by byte.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { parse } from 'yaml'
import { encodePbinHeader, PBIN_HEADER_BYTES } from '../dist/formats/pbin.js'
import { writePairList } from '../dist/formats/pickle.js'
import { readPairList } from '../dist/formats/pickle-reader.js'
import { pythonRandom } from '../dist/sampling/python-random.js'

const glued = 'Modalities joins a last line without a newline to the following line; here a newline is added'
const shifted = 'in Modalities, the offsets of all documents after the first file are 12 bytes too low'

export function commandChecks({ root, folder: parent, quick }) {
  const folder = join(parent, 'commands')
  mkdirSync(folder)
  const at = name => join(folder, name)
  const documents = quick ? 300 : 3000
  const penstock = args =>
    spawnSync(process.execPath, [join(root, 'dist', 'cli', 'main.js'), ...args, '--quiet'], { encoding: 'utf8' })

  /** Runs one command in both; OUTPUT is replaced by the output file of each. */
  function check(name, args, ending, { reason, compare = sameBytes } = {}) {
    const [ours, theirs] = ['ours', 'reference'].map(side => at(`${name.replaceAll(' ', '-')}.${side}${ending}`))
    const command = output => args.map(arg => (arg === OUTPUT ? output : arg))
    return {
      name,
      job: { do: 'command', args: ['data', ...command(theirs)] },
      ours: answer => {
        const { status, stderr } = penstock(['data', ...command(ours)])
        if (answer.value !== 0) return [status === 0 ? 'done' : 'refused', 'refused']
        if (status !== 0) throw new Error(stderr)
        return compare(ours, theirs)
      },
      reason,
    }
  }

  const widths = [1, 2, 4]
  for (const width of widths) packedFile(at(`a${width}.pbin`), documents, width, 1)
  packedFile(at('b2.pbin'), documents / 3 + 1, 2, 2)
  packedFile(at('few2.pbin'), 2, 2, 3)
  jsonlFile(at('a2.jsonl'), documents, '\n')
  jsonlFile(at('b2.jsonl'), documents / 3 + 1, '\n')
  jsonlFile(at('cut.jsonl'), 20, '')
  writeFileSync(at('list.txt'), 'a2.any\nb2\n')
  const seeds = [0, 1, 42, 2 ** 31, 2 ** 32 + 5, 2 ** 40]
  const shuffle = (kind, path, seed) => [
    ...[`shuffle_${kind}_data`, '--input_data_path', at(path), '--output_data_path', OUTPUT],
    ...['--seed', String(seed)],
  ]
  const chunk = (kind, id, count, seed, list = 'list.txt') => [
    ...[`create_shuffled_${kind}_chunk`, '--input_file_list_path', at(list), '--input_data_root_path', folder],
    ...['--output_chunk_file_path', OUTPUT, '--chunk_id', String(id), '--num_chunks', String(count)],
    ...['--global_seed', String(seed)],
  ]
  const chunks = [
    [0, 3, 42],
    [1, 3, 42],
    [2, 3, 42],
    [0, 1, 7],
    [6, 7, 0],
    [99, 100, 2 ** 40],
  ]
  writeFileSync(at('few.txt'), 'few2.pbin\n')
  writeFileSync(at('cut.txt'), 'cut.jsonl\ncut.jsonl\n')
  return [
    check('merge of one file', ['merge_packed_data', at('a2.pbin'), OUTPUT], '.pbin'),
    check('merge of two files', ['merge_packed_data', at('a2.pbin'), at('b2.pbin'), OUTPUT], '.pbin', {
      reason: shifted,
    }),
    check('merge of two files: tokens', ['merge_packed_data', at('a2.pbin'), at('b2.pbin'), OUTPUT], '.pbin', {
      compare: (...paths) => paths.map(path => dataOf(path).toString('latin1')),
    }),
    check(
      'merge of two files: index without its shift',
      ['merge_packed_data', at('a2.pbin'), at('b2.pbin'), OUTPUT],
      '.pbin',
      {
        compare: (ours, theirs) => [[...indexOf(ours)], unshifted([...indexOf(theirs)], documents)],
      },
    ),
    check('merge of two widths', ['merge_packed_data', at('a1.pbin'), at('a2.pbin'), OUTPUT], '.pbin'),
    ...widths.flatMap(width =>
      seeds.map(seed =>
        check(`shuffle of ${width}-byte tokens, seed ${seed}`, shuffle('tokenized', `a${width}.pbin`, seed), '.pbin'),
      ),
    ),
    ...seeds.map(seed => check(`shuffle of lines, seed ${seed}`, shuffle('jsonl', 'a2.jsonl', seed), '.jsonl')),
    check('shuffle of lines, the last cut', shuffle('jsonl', 'cut.jsonl', 1), '.jsonl', { reason: glued }),
    ...chunks.map(([id, count, seed]) =>
      check(`chunk ${id} of ${count} of packed files, seed ${seed}`, chunk('dataset', id, count, seed), '.pbin'),
    ),
    ...chunks.map(([id, count, seed]) =>
      check(`chunk ${id} of ${count} of lines, seed ${seed}`, chunk('jsonl', id, count, seed), '.jsonl'),
    ),
    check('chunk without documents', chunk('dataset', 2, 3, 1, 'few.txt'), '.pbin'),
    check('chunk of lines, the last cut', chunk('jsonl', 0, 1, 1, 'cut.txt'), '.jsonl', { reason: glued }),
    check('index by command', ['create_raw_index', at('a2.jsonl'), '--index_path', OUTPUT], '.idx'),
    ...['error', 'skip', 'override'].map(policy => policyCheck(policy, folder, penstock)),
    filterCheck(at('a2.pbin'), folder, penstock),
    droppingCheck(folder, penstock),
    ...instructionCheck(root, folder, penstock),
  ]
}

const OUTPUT = Symbol('output')

const bytesOf = path => (existsSync(path) ? readFileSync(path).toString('latin1') : 'missing')
const sameBytes = (ours, theirs) => [bytesOf(ours), bytesOf(theirs)]

function dataOf(path) {
  const bytes = readFileSync(path)
  return bytes.subarray(0, PBIN_HEADER_BYTES + Number(bytes.readBigUInt64LE(0)))
}

function indexOf(path) {
  const bytes = readFileSync(path)
  return readPairList(bytes.subarray(dataOf(path).length))
}

/** Modalities' merged index with 12 bytes added to the offset of each document of the second file. */
function unshifted(index, firstDocuments) {
  return index.map((value, at) => (at % 2 === 0 && at / 2 >= firstDocuments ? value + PBIN_HEADER_BYTES : value))
}

/** Handling of an existing output under each policy. */
function policyCheck(policy, folder, penstock) {
  const args = output => [
    ...['shuffle_jsonl_data', '--input_data_path', join(folder, 'a2.jsonl'), '--output_data_path', output],
    ...['--seed', '1', '--file_existence_policy', policy],
  ]
  const [ours, theirs] = ['ours', 'reference'].map(side => join(folder, `policy.${policy}.${side}.jsonl`))
  for (const path of [ours, theirs]) writeFileSync(path, 'old content\n')
  return {
    name: `existence policy ${policy}`,
    job: { do: 'command', args: ['data', ...args(theirs)] },
    ours: answer => {
      const { status } = penstock(['data', ...args(ours)])
      return [
        { done: status === 0, bytes: bytesOf(ours) },
        { done: answer.value === 0, bytes: bytesOf(theirs) },
      ]
    },
  }
}

function filterCheck(source, folder, penstock) {
  const [ours, theirs] = ['ours', 'reference'].map(side => join(folder, `filtered.${side}.pbin`))
  return {
    name: 'filter of a packed file',
    job: { do: 'filter_packed', source, target: theirs, min_tokens: 10 },
    ours: () => {
      penstock(['filter', source, '-o', ours, '--min-tokens', '10'])
      return sameBytes(ours, theirs)
    },
  }
}

function droppingCheck(folder, penstock) {
  const source = join(folder, 'faulty.jsonl')
  writeFileSync(source, '{"text": "a"}\n\n{"text": }\n{"text": "b"}\nnot JSON\n{"text": "c"}\n')
  const [ours, theirs] = ['ours', 'reference'].map(side => join(folder, `dropped.${side}.idx`))
  return {
    name: 'index without faulty entries',
    job: { do: 'index', source, target: theirs, drop_faulty_entries: true },
    ours: () => {
      penstock(['data', 'create_raw_index', source, '--index_path', ours, '--faulty', 'skip'])
      return sameBytes(ours, theirs)
    },
  }
}

const noTemplates = 'no comparison without the package @huggingface/jinja and ../shared/reference/hf_gpt2'

/** Conversations rendered, split, indexed and packed: compares all files of the folder. */
function instructionCheck(root, folder, penstock) {
  const tokenizer = join(root, '..', 'shared', 'reference', 'hf_gpt2')
  if (!existsSync(tokenizer) || !isInstalled('@huggingface/jinja')) {
    process.stdout.write(`Instruction data: ${noTemplates}\n`)
    return []
  }
  return Object.entries(INSTRUCTIONS).map(([name, configs]) => {
    const [ours, theirs] = ['ours', 'reference'].map(side =>
      instructionFolder(join(folder, `${name.replaceAll(' ', '-')}.${side}`), tokenizer, configs),
    )
    const args = config => ['data', 'prepare_instruction_tuning_data', '--config_file_path', join(config, 'chat.yaml')]
    return {
      name,
      job: { do: 'command', args: args(theirs) },
      ours: () => {
        const { status, stderr } = penstock(args(ours))
        if (status !== 0) throw new Error(stderr)
        return [preparedFiles(ours), preparedFiles(theirs)]
      },
    }
  })
}

/** Every output file, without the hash of its configuration and without its own path. */
function preparedFiles(folder) {
  const out = join(folder, 'out')
  const plain = text => text.replaceAll(folder, '').replaceAll(/[._][0-9a-f]{7}/g, '')
  const contentOf = name => {
    if (!name.endsWith('.yaml')) return bytesOf(join(out, name))
    // YAML files are compared by value, not by formatting.
    return parse(plain(readFileSync(join(out, name), 'utf8')))
  }
  const names = readdirSync(out, { recursive: true }).filter(name => /\.(jsonl|idx|pbin|yaml)$/.test(name))
  return Object.fromEntries(names.sort().map(name => [plain(name), contentOf(name)]))
}

function isInstalled(name) {
  try {
    createRequire(import.meta.url).resolve(name)
    return true
  } catch {
    return false
  }
}

/** Records with every kind of number, spacing and escape; two names for roles; texts that are difficult for templates. */
function instructionFolder(folder, tokenizer, { chat, pack }) {
  mkdirSync(folder)
  const numbers = ['1.0', '1e-7', '1e22', '0.1', '-0.0', '123456789012345678901234567890', '1E16', '12345.678', '5']
  const texts = ['Hi ünï 😀', 'A\nB "q" \\ /', "<tag> & '", '', 'tab\t']
  const random = pythonRandom(9)
  const pick = list => list[Math.floor(random.random() * list.length)]
  const lines = Array.from({ length: 200 }, (_, id) => {
    const turns = Array.from({ length: 1 + (id % 5) }, () => ({ from: pick(['human', 'gpt']), value: pick(texts) }))
    const spacing = id % 3 === 0 ? ' ' : ''
    return `{"id":${spacing}${id},${spacing}"score":${pick(numbers)},"conversations":${JSON.stringify(turns)},"x":{"b":[],"a":null}}`
  })
  writeFileSync(join(folder, 'chats.jsonl'), `${lines.join('\n')}\n`)
  const paths = name => `src_path: ${join(folder, 'chats.jsonl')}\n  dst_path: ${join(folder, name)}`
  writeFileSync(join(folder, 'pack.yaml'), pack(paths('x.pbin'), join(folder, 'x.idx'), tokenizer))
  writeFileSync(join(folder, 'chat.yaml'), chat(paths('out/chats.jsonl'), join(folder, 'pack.yaml')))
  return folder
}

const PACK_CONFIG = (paths, index, tokenizer) => `settings:
  ${paths}
  index_path: ${index}
  jq_pattern: .chat
  num_cpus: 1
  eod_token: <|endoftext|>
  processing_batch_size: 10
  raw_samples_queue_size: 300
  processed_samples_queue_size: 300
tokenizer:
  component_key: tokenizer
  variant_key: pretrained_hf_tokenizer
  config: { pretrained_model_name_or_path: ${tokenizer}, padding: false, truncation: false }
`

const CHAT_CONFIG = (paths, pack) => `settings:
  ${paths}
  messages_key: conversations
  pbin_creation_config_file_path: ${pack}
  split_config: { splitting: { train: 70, val: 15, test: 15 }, seed: 1234 }
instruction_data_transformation:
  role_mapping: { human: User, gpt: Assistant }
chat_template_data:
  system: You are helpful.
  user: User
  begin: <|im_start|>
jinja2_chat_template: |
  {{ chat_template_data.system + '\\n' }}
  {% for message in messages %}
  {% if message.from == chat_template_data.user %}
  {{ message.from }}: {{ message.value + '\\n' }}
  {% elif loop.last and message.value | length > 3 %}
  {{ message.from + ':' + chat_template_data.begin }}{{ message | tojson }}
  {% else %}
    {{ message.from }}:{{ message.value }}
  {% endif %}
  {% endfor %}
`

/** As in the tutorial: one conversation per block, padded and truncated, with vocabulary words as special tokens. */
const TUTORIAL_PACK = (paths, index, tokenizer) =>
  PACK_CONFIG(paths, index, tokenizer)
    .replace('  processed_samples_queue_size: 300\n', '$&  sequence_length: 64\n')
    .replace(
      / {2}config: .*\n/,
      `  config:
    pretrained_model_name_or_path: ${tokenizer}
    padding: max_length
    truncation: true
    max_length: \${settings.sequence_length}
    special_tokens:
      pad_token: \${settings.eod_token}
      additional_special_tokens:
        - ^
        - $
        - °
`,
    )

const TUTORIAL_CHAT = (paths, pack) => `settings:
  ${paths}
  messages_key: conversations
  pbin_creation_config_file_path: ${pack}
  split_config: { splitting: { train: 70, val: 0, test: 30 }, seed: 1234 }
instruction_data_transformation:
  role_mapping: { human: User1, gpt: Assistant }
chat_template_data:
  assistant_role: Assistant
  system_instruction: "You are a helpful assistant; answer the user's messages."
  special_tokens: { b_include_to_loss_token: ^, e_include_to_loss_token: $, e_assistant_token: ° }
jinja2_chat_template: |
    {{ chat_template_data.system_instruction + '\\n' }}
    {% for turn in messages %}
    {{ turn.from + ':' }}
    {% if turn.from == chat_template_data.assistant_role %}
    {{ chat_template_data.special_tokens.b_include_to_loss_token}}
    {% else %}
    {{ " " }}
    {% endif %}
    {{ turn.value + '\\n'}}
    {% if turn.from == chat_template_data.assistant_role %}
    {{ chat_template_data.special_tokens.e_assistant_token}}
    {{ chat_template_data.special_tokens.e_include_to_loss_token}}
    {% endif %}
    {% endfor %}
`

const INSTRUCTIONS = {
  'instruction data': { chat: CHAT_CONFIG, pack: PACK_CONFIG },
  'instruction data, padded and cut': { chat: TUTORIAL_CHAT, pack: TUTORIAL_PACK },
}

/** Documents of 1 to 40 random tokens. */
function packedFile(path, documents, width, seed) {
  const random = pythonRandom(seed)
  const pairs = []
  const tokens = []
  for (let document = 0; document < documents; document++) {
    const length = 1 + Math.floor(random.random() * 40)
    pairs.push([tokens.length * width, length * width])
    for (let token = 0; token < length; token++) tokens.push(random.getrandbits(Math.min(8 * width, 31)))
  }
  const data = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[width].from(tokens)
  const header = encodePbinHeader({ dataBytes: data.byteLength, tokenBytes: width })
  writeFileSync(path, Buffer.concat([header, new Uint8Array(data.buffer), writePairList(pairs)]))
}

/** Lines of every kind, including empty ones and carriage returns. */
function jsonlFile(path, lines, end) {
  const made = Array.from({ length: lines }, (_, at) =>
    at % 50 === 7 ? '' : `{"text": "${'line ü '.repeat(at % 9)}${at}"}${at % 11 === 0 ? '\r' : ''}`,
  )
  // create_raw_index does not accept empty lines.
  const content = path.endsWith('a2.jsonl') ? made.map(line => line || '{}') : made
  writeFileSync(path, content.join('\n') + end)
}
