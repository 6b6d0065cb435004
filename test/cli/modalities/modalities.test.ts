// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolations of configurations
/** Modalities' commands under their own names: inputs, outputs and errors. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { byteTokenizer } from '../../stages/byte-tokenizer.js'
import { temporaryFolder } from '../../stages/support.js'
import { hasReference, penstock, REFERENCE } from '../support.js'
import { startConfig, template, warmstartConfig } from './training-config.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(at(name), content)
  return at(name)
}
const data = (command: string, ...args: string[]) => penstock(['data', command, ...args, '--quiet'], folder)

const TOKENS = 4000

beforeAll(async () => {
  file('tokenizer.json', JSON.stringify(byteTokenizer()))
  file('ten.jsonl', Array.from({ length: 10 }, (_, at) => `{"text":"${'x'.repeat(at + 1)}"}\n`).join(''))
  file(
    'pack.yaml',
    `settings:
  src_path: ten.jsonl
  dst_path: ten.pbin
  index_path: ten.idx
  jq_pattern: .text
  num_cpus: 1
  eod_token: <|endoftext|>
  processing_batch_size: 10
  raw_samples_queue_size: 300
  processed_samples_queue_size: 300
tokenizer:
  component_key: tokenizer
  variant_key: pretrained_hf_tokenizer
  config: { pretrained_model_name_or_path: ., padding: false, truncation: false }
`,
  )
  mkdirSync(at('experiments'))
  const tokens = Uint8Array.from({ length: TOKENS }, (_, position) => (position * position) % 251)
  const header = encodePbinHeader({ dataBytes: TOKENS, tokenBytes: 1 })
  file('train.pbin', Buffer.concat([header, tokens, writePairList([[0, TOKENS]])]))
  expect(await data('create_raw_index', 'ten.jsonl')).toMatchObject({ code: 0, err: '' })
  expect(await data('pack_encoded_data', 'pack.yaml')).toMatchObject({ code: 0, err: '' })
})

/** The number of x in each document of a packed file of ten.jsonl. */
function documents(name: string): number[] {
  const bytes = readFileSync(at(name))
  const dataBytes = Number(bytes.readBigUInt64LE(0))
  const width = bytes.readUInt32LE(8)
  const tokens = Array.from({ length: dataBytes / width }, (_, token) => bytes.readUIntLE(12 + token * width, width))
  const end = Math.max(...tokens)
  return tokens
    .join()
    .split(`,${end}`)
    .slice(0, -1)
    .map(text => text.split(',').filter(token => token !== '').length)
}

describe.skipIf(!hasReference)('with the original files of Modalities', () => {
  it('indexes and packs byte for byte like Modalities', async () => {
    const lorem = join(REFERENCE, 'modalities', 'lorem_ipsum')
    const source = file('lorem.jsonl', readFileSync(`${lorem}.jsonl`))
    expect(await data('create_raw_index', source)).toMatchObject({ code: 0 })
    expect(readFileSync(at('lorem.idx')).equals(readFileSync(`${lorem}.idx`))).toBe(true)
    const config = readFileSync(join(REFERENCE, 'modalities', 'tokenization_config.yaml'), 'utf8')
      .replaceAll(/data\/(raw|preprocessed)\/fineweb_edu_num_docs_483606/g, 'lorem')
      .replace('data/tokenizer', join(REFERENCE, 'hf_gpt2'))
    expect(await data('pack_encoded_data', file('lorem.yaml', config))).toMatchObject({ code: 0 })
    expect(readFileSync(at('lorem.pbin')).equals(readFileSync(`${lorem}.pbin`))).toBe(true)
  })
})

describe('pack_encoded_data', () => {
  it('packs only the lines in the index', async () => {
    expect(documents('ten.pbin')).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    // Entries of the second and fifth lines only.
    file(
      'some.idx',
      writePairList([
        [13, 13],
        [58, 16],
      ]),
    )
    const config = readFileSync(at('pack.yaml'), 'utf8').replace('ten.idx', 'some.idx').replace('ten.pbin', 'some.pbin')
    expect(await data('pack_encoded_data', file('some.yaml', config))).toMatchObject({ code: 0 })
    expect(documents('some.pbin')).toEqual([2, 5])
  })

  it.each([
    ['padding: false', 'special_tokens: { pad_token: "<pad>" }, padding: false', 1, 'TOKENIZER_MISMATCH'],
    ['padding: false', 'paddign: false', 2, 'CONFIG_INVALID'],
    ['eod_token', 'eod_tokne', 2, 'eod_token'],
  ])('rejects %s -> %s before anything is written', async (from, to, code, shown) => {
    const config = file(
      'bad.yaml',
      readFileSync(at('pack.yaml'), 'utf8').replace(from, to).replace('ten.pbin', 'bad.pbin'),
    )
    const { code: found, err } = await data('pack_encoded_data', config)
    expect(err).toContain(shown)
    expect(err.trimEnd().split('\n')).toHaveLength(1)
    expect(found).toBe(code)
    expect(existsSync(at('bad.pbin'))).toBe(false)
  })
})

describe('existence policies', () => {
  const shuffle = (policy: string) =>
    penstock(
      [
        ...['data', 'shuffle_tokenized_data', '--input_data_path', 'ten.pbin', '--output_data_path', 'existing.pbin'],
        ...['--seed', '42', '--file_existence_policy', policy],
      ],
      folder,
    )

  it('error fails, skip keeps the file and succeeds, override replaces it', async () => {
    file('existing.pbin', 'something else')
    expect(await shuffle('error')).toMatchObject({ code: 1, err: expect.stringContaining('FILE_EXISTS') })
    expect(await shuffle('skip')).toMatchObject({ code: 0, err: expect.stringContaining('already exists, skipped') })
    expect(readFileSync(at('existing.pbin'), 'utf8')).toBe('something else')
    expect(await shuffle('override')).toMatchObject({ code: 0 })
    expect(documents('existing.pbin')).toEqual([8, 4, 3, 9, 6, 7, 10, 5, 1, 2])
  })

  it('rejects an output that is also the input', async () => {
    const args = [
      '--input_data_path',
      'ten.pbin',
      '--output_data_path',
      'ten.pbin',
      '--file_existence_policy',
      'override',
    ]
    expect(await data('shuffle_tokenized_data', ...args)).toMatchObject({
      code: 2,
      err: expect.stringContaining('FILE_IS_SOURCE'),
    })
    expect(documents('ten.pbin')).toHaveLength(10)
  })
})

describe('merge_packed_data', () => {
  it('merges files and folders into the last path', async () => {
    mkdirSync(at('parts/deep'), { recursive: true })
    for (const name of ['parts/b.pbin', 'parts/deep/a.pbin']) file(name, readFileSync(at('ten.pbin')))
    expect(await data('merge_packed_data', 'ten.pbin', 'parts', 'all.pbin')).toMatchObject({ code: 0 })
    expect(documents('all.pbin')).toHaveLength(30)
    expect(await data('merge_packed_data', 'ten.pbin', 'all.pbin')).toMatchObject({ code: 1 })
    expect(await data('merge_packed_data', 'ten.pbin')).toMatchObject({ code: 2 })
    expect(await penstock(['merge', 'ten.pbin', 'parts', '-o', 'same.pbin', '--quiet'], folder)).toMatchObject({
      code: 0,
    })
    expect(readFileSync(at('same.pbin')).equals(readFileSync(at('all.pbin')))).toBe(true)
  })

  it('reports an output folder that cannot be created', async () => {
    file('not-a-folder', '')
    expect(await data('merge_packed_data', 'ten.pbin', 'not-a-folder/all.pbin')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^penstock: not-a-folder: .*\[FILE_UNWRITABLE\]$/m),
    })
  })
})

describe('chunks', () => {
  it('replace the extension of each listed path', async () => {
    file('list.txt', 'ten.anything\nten.jsonl\n')
    for (const [command, ending] of [
      ['create_shuffled_dataset_chunk', '.pbin'],
      ['create_shuffled_jsonl_chunk', '.jsonl'],
    ] as const) {
      const args = [
        ...[
          '--input_file_list_path',
          'list.txt',
          '--input_data_root_path',
          '.',
          '--chunk_id',
          '1',
          '--num_chunks',
          '3',
        ],
        ...['--output_chunk_file_path', `chunk${ending}`, '--global_seed', '7'],
      ]
      expect(await data(command, ...args)).toMatchObject({ code: 0, err: '' })
    }
    const lines = readFileSync(at('chunk.jsonl'), 'utf8').trimEnd().split('\n')
    const lengths = lines.map(line => (JSON.parse(line) as { text: string }).text.length)
    expect(lengths.toSorted((a, b) => a - b)).toEqual([5, 5, 6, 6, 7, 7])
    expect(documents('chunk.pbin')).toEqual(lengths)
    const chunkArgs = [
      'chunk',
      'ten.pbin',
      'ten.pbin',
      '-o',
      'same.chunk.pbin',
      '--chunk',
      '1',
      '--of',
      '3',
      '--seed',
      '7',
    ]
    expect(await penstock(chunkArgs, folder)).toMatchObject({ code: 0 })
    expect(readFileSync(at('same.chunk.pbin')).equals(readFileSync(at('chunk.pbin')))).toBe(true)
  })
})

describe('filter', () => {
  it('keeps documents by length and reports how many it dropped', async () => {
    const { code, err } = await penstock(['filter', 'ten.pbin', '-o', 'long.pbin', '--min-tokens', '9'], folder)
    expect(code).toBe(0)
    expect(err).toContain('7 filtered')
    expect(documents('long.pbin')).toEqual([8, 9, 10])
  })
})

const weightsOf = (checkpoint: string): string =>
  createHash('sha256')
    .update(readFileSync(join(checkpoint, 'model.safetensors')))
    .digest('hex')

describe('run and warmstart', () => {
  const run = (config: string, id: string) =>
    penstock(
      ['run', '--config_file_path', config, '--experiments_root_path', 'experiments', '--experiment_id', id],
      folder,
    )
  const checkpointsOf = (id: string) => at(`experiments/${id}/checkpoints`)

  it('a warmstart from a run gives the weights of an uninterrupted run', async () => {
    expect(await run(file('whole.yaml', startConfig(12)), 'whole')).toMatchObject({ code: 0 })
    const { code, err } = await run(file('part.yaml', startConfig(4)), 'part')
    expect(code, err).toBe(0)
    expect(err).toContain('32-bit precision')
    expect(readdirSync(at('experiments/part')).toSorted()).toEqual([
      'checkpoints',
      'log.jsonl',
      'part.yaml',
      'part.yaml.resolved',
    ])
    expect(existsSync(at('results.jsonl'))).toBe(true)
    expect(readFileSync(at('experiments/part/part.yaml'), 'utf8')).toBe(startConfig(4))
    const resolved = readFileSync(at('experiments/part/part.yaml.resolved'), 'utf8')
    expect(resolved).not.toMatch(/\$\{/)
    expect(resolved).toContain('experiment_id: part')
    expect(readdirSync(checkpointsOf('whole')).filter(name => name.startsWith('eid_'))).toHaveLength(2)
    const name = 'eid_part-seen_steps_4-seen_tokens_128-target_steps_4-target_tokens_128'
    const info = join(checkpointsOf('part'), 'last_checkpoint_info.json')
    expect(JSON.parse(readFileSync(info, 'utf8'))).toEqual({
      checkpoint_folder_path: join(checkpointsOf('part'), name),
    })

    // The state after a kill between saving the last checkpoint and naming it.
    rmSync(info)
    rmSync(join(checkpointsOf('part'), name))
    expect(await run(at('part.yaml'), 'part')).toMatchObject({ code: 0 })
    expect(existsSync(join(checkpointsOf('part'), name, 'state.json'))).toBe(true)
    expect(existsSync(info)).toBe(true)

    const args = ['--experiments_root_path', 'experiments', '--last_checkpoint_info_file_path', info]
    const warmstart = await penstock(
      ['warmstart', '--config_file_path', file('on.yaml', warmstartConfig), ...args],
      folder,
    )
    expect(warmstart.code, warmstart.err).toBe(0)
    const warmstarted = readdirSync(at('experiments')).find(id => !['whole', 'part'].includes(id))!
    expect(warmstarted).toMatch(/^\d{4}-\d\d-\d\d__\d\d-\d\d-\d\d_[0-9a-f]{16}$/)
    const last = (id: string) =>
      realpathSync(
        JSON.parse(readFileSync(join(checkpointsOf(id), 'last_checkpoint_info.json'), 'utf8')).checkpoint_folder_path,
      )
    expect(last(warmstarted)).toMatch(/step-000012$/)
    expect(weightsOf(last(warmstarted))).toBe(weightsOf(last('whole')))
    expect(weightsOf(last('part'))).not.toBe(weightsOf(last('whole')))
  }, 180_000)

  it('a checkpoint generates text and converts to a Hugging Face folder', async () => {
    const checkpoint = realpathSync(
      JSON.parse(readFileSync(join(checkpointsOf('whole'), 'last_checkpoint_info.json'), 'utf8'))
        .checkpoint_folder_path,
    )
    const model = /\nmodel_raw:.*?\n\n/s.exec(template)![0]
    const generation = `settings:
  model_path: ${checkpoint}
  sequence_length: 16
  device: cpu
  referencing_keys: { sample_key: input_ids, prediction_key: logits }
text_inference_component:
  component_key: inference_component
  variant_key: text
  config:
    device: cpu
    temperature: 0
    prompt_template: "ab "
    sequence_length: 16
    model: { instance_key: model_raw, pass_type: BY_REFERENCE }
    tokenizer:
      component_key: tokenizer
      variant_key: pretrained_hf_tokenizer
      config: { pretrained_model_name_or_path: . }
${model}`
    const { code, out, err } = await penstock(
      ['generate_text', '--config_file_path', file('text.yaml', generation)],
      folder,
    )
    expect(code, err).toBe(0)
    expect(out).toMatch(/^ab ./)
    const conversion = `checkpointed_model:
  component_key: model
  variant_key: fsdp1_checkpointed
  config:
    checkpoint_path: ${checkpoint}
    checkpoint_loading: { component_key: checkpoint_loading, variant_key: fsdp1, config: { global_rank: 0, block_names: [GPT2Block], mixed_precision_settings: BF_16, sharding_strategy: FULL_SHARD } }
    model: { instance_key: model_raw, pass_type: BY_REFERENCE }
${model}`
    const args = ['--config_file_path', file('convert.yaml', conversion), '--output_hf_checkpoint_dir', 'hf']
    const converted = await penstock(
      ['convert_pytorch_to_hf_checkpoint', ...args, '--prediction_key', 'logits'],
      folder,
    )
    // Learned positions cannot be converted to Llama.
    expect(converted).toMatchObject({ code: 1, err: expect.stringContaining('UNSUPPORTED') })
    expect(existsSync(at('hf'))).toBe(false)
  })

  it('rejects unsupported and invalid configurations before anything is written', async () => {
    const unsupported = file('other.yaml', startConfig(12).replace('norm_type: P2_NORM', 'norm_type: P3_NORM'))
    expect(await run(unsupported, 'other')).toMatchObject({
      code: 2,
      err: expect.stringMatching(/other.yaml:\d+:\d+: .*P2_NORM/),
    })
    const unreadable = file('unreadable.yaml', startConfig(12).replace('_path: train.pbin', '_path: experiments'))
    expect(await run(unreadable, 'other')).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^penstock: \S*experiments: .*\[FILE_UNREADABLE\]$/m),
    })
    expect(existsSync(at('experiments/other'))).toBe(false)
    expect(await penstock(['run'], folder)).toMatchObject({ code: 2 })
    expect(await penstock(['run', '--config_file_path', unsupported], folder)).toMatchObject({ code: 2 })
  })

  it('writes an error log in the format of Modalities', async () => {
    const args = ['--experiments_root_path', 'experiments', '--error_log_folder', 'errors']
    expect(await penstock(['run', '--config_file_path', 'none.yaml', ...args], folder)).toMatchObject({ code: 1 })
    const [name] = readdirSync(at('errors'))
    expect(name).toMatch(/^error_logs_.*_0\.log$/)
    expect(JSON.parse(readFileSync(at(`errors/${name}`), 'utf8'))).toMatchObject({
      environment: { rank: 0 },
      error: { type: 'FILE_MISSING', error: expect.stringContaining('none.yaml') },
    })
    const lost = await penstock(
      ['run', '--config_file_path', 'none.yaml', ...args.slice(0, -1), file('no-folder', '')],
      folder,
    )
    expect(lost.err).toMatch(
      /^penstock: .*no-folder: .*\[FILE_UNWRITABLE\]\npenstock: .*none\.yaml.*\[FILE_MISSING\]$/m,
    )
  })
})

describe('benchmark', () => {
  it('prepares a sweep, runs the listed configurations and then lists none', async () => {
    const results = '${settings.paths.experiments_root_path}/${settings.experiment_id}/evaluation_results.jsonl'
    const config = startConfig(4)
      .replace('lr: 1e-3', 'lr: ${sweep.lr}')
      .replace('output_file_path: results.jsonl', `output_file_path: "${results}"`)
    file('sweep.yaml', `sweep:\n  lr: [0.01, 0.02]\n${config}`)
    const benchmark = (...args: string[]) => penstock(['benchmark', ...args], folder)
    const prepared = await benchmark(
      ...['prepare_sweep_configs', '--sweep_config_path', 'sweep.yaml', '--output_dir', 'sweeps', '--world_sizes', '1'],
    )
    expect(prepared.code, prepared.err).toBe(0)
    // Four steps logged every two give two lines; the evaluation gives the third.
    const args = ['--exp_root', 'sweeps', '--expected_steps', '3', '--file_list_path', 'to_run.txt']
    const listed = async () => {
      expect(await benchmark('list_remaining_runs', ...args)).toMatchObject({ code: 0 })
      return readFileSync(at('to_run.txt'), 'utf8').split('\n').slice(0, -1)
    }
    const paths = await listed()
    expect(paths.map(path => realpathSync(path)).sort()).toEqual(
      prepared.out
        .trimEnd()
        .split('\n')
        .map(path => realpathSync(at(path)))
        .sort(),
    )
    for (const [done, path] of paths.entries()) {
      const where = ['--experiments_root_path', dirname(dirname(path)), '--experiment_id', basename(dirname(path))]
      const run = await penstock(['run', '--config_file_path', path, ...where], folder)
      expect(run.code, run.err).toBe(0)
      expect(run.err).not.toContain('sweep is not used')
      expect(await listed()).toEqual(paths.slice(done + 1))
    }
  }, 180_000)
})

describe('profile distributed', () => {
  const config = (maximum: number) => `steppable_component:
  component_key: steppable_component
  variant_key: forward_pass
  config:
    model: { instance_key: model_raw, pass_type: BY_REFERENCE }
    dataset_batch_generator:
      component_key: dataset_batch_generator
      variant_key: random
      config: { dims: { batch: 2, sequence: 8 }, data_type: int64, min_val: 0, max_val: ${maximum} }
profiler:
  component_key: steppable_profiler
  variant_key: kernel_tracing
  config:
    num_wait_steps: 1
    num_warmup_steps: 1
    num_active_steps: 2
    profiler_activities: [CPU]
    profile_memory: false
    record_shapes: false
    with_flops: false
    with_stack: false
    with_modules: false
    tracked_ranks: [0]
    output_folder_path: \${modalities_env:experiments_root_path}/\${modalities_env:experiment_id}
${/\nmodel_raw:.*?\n\n/s.exec(template)![0]}`

  const profile = (name: string) =>
    penstock(['profile', 'distributed', '--config_file_path', name, '--experiment_root_path', 'profiles'], folder)

  it('writes the trace under its Modalities name, next to a copy of the configuration', async () => {
    file('profile.yaml', config(200))
    const { code, out, err } = await profile('profile.yaml')
    expect(code, err).toBe(0)
    const trace = JSON.parse(readFileSync(at(out.trim()), 'utf8')) as { name: string; ph: string }[]
    expect(out).toMatch(/^profiles.*profiler_trace_ranks_1_rank_0\.json\n$/)
    expect(trace.filter(({ name, ph }) => ph === 'X' && /step/.test(name))).toHaveLength(4)
    expect(existsSync(join(dirname(at(out.trim())), 'profile.yaml'))).toBe(true)
  })

  it('rejects ids outside the vocabulary and a profiler without tracing', async () => {
    file('ids.yaml', config(300))
    expect(await profile('ids.yaml')).toMatchObject({ code: 1, err: expect.stringContaining('TOKENIZER_MISMATCH') })
    file(
      'none.profile.yaml',
      config(200)
        .replace('kernel_tracing', 'no_profiler')
        .replace(/(no_profiler\n {2}config:)[^$]*(?=\$)/, '$1 {}\n#'),
    )
    expect(await profile('none.profile.yaml')).toMatchObject({ code: 1, err: expect.stringContaining('UNSUPPORTED') })
  })
})

describe('help', () => {
  it('shows an example for every data command', async () => {
    const { out } = await penstock(['data', '--help'])
    const commands = [...out.matchAll(/^ {2}([a-z]+_\w+) /gm)].map(match => match[1]!)
    expect(commands).toHaveLength(8)
    for (const command of commands) {
      const { out: help } = await penstock(['data', command, '--help'])
      expect(help, command).toContain(`Example:\n  penstock data ${command} `)
    }
    expect(await penstock(['data', 'merge_packed'])).toMatchObject({ code: 2 })
  })
})

describe('explain and schema', () => {
  it('explain training and packing configurations', async () => {
    const training = await penstock(['explain', file('explained.yaml', startConfig(12))], folder)
    expect(training).toMatchObject({ code: 0, out: expect.stringMatching(/train on +train\.pbin.*\nevaluate on/) })
    const filled = await penstock(['explain', 'explained.yaml', '--resolved', '--experiment_id', 'mine'], folder)
    expect(filled.out).toContain('checkpoint_path: ./mine/checkpoints')
    expect(await penstock(['explain', 'pack.yaml'], folder)).toMatchObject({
      code: 0,
      out: expect.stringContaining('ten.jsonl, indexed by ten.idx'),
    })
    const own = file('own.yaml', 'stages: [read-lines]\n')
    expect(await penstock(['explain', own], folder)).toMatchObject({ code: 2 })
  })

  it.each(['definition', 'training', 'packing'])('schema %s is JSON', async kind => {
    expect(JSON.parse((await penstock(['schema', kind])).out)).toHaveProperty('$schema')
  })
})
