// Compares the samples of every dataset in Modalities' registry, built from the same configuration by both.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodePbinHeader } from '../dist/formats/pbin.js'
import { writePairList } from '../dist/formats/pickle.js'
import { modalitiesComponents } from '../dist/modalities/components/components.js'
import { pythonRandom } from '../dist/sampling/python-random.js'
import { shuffleSamples } from '../dist/stages/samples/shuffle-samples.js'

export function datasetChecks({ root, folder: parent }) {
  const folder = join(parent, 'datasets')
  mkdirSync(folder)
  const path = (name, tokens, width) => packedFile(join(folder, `${name}.pbin`), tokens, width)
  const files = [path('a', 1000, 1), path('b', 777, 2), path('c', 65, 4), path('d', 64, 2), path('e', 129, 2)]
  const single = files.flatMap(file =>
    [2, 16, 64, 128].flatMap(length => [true, false].map(reuse => [[file], length, reuse])),
  )
  const several = [
    [files[1], files[4]],
    [files[4], files[1], files[3]],
    [files[2], files[2]],
    [files[0], files[2]],
  ]
  const combined = several.flatMap(paths =>
    [8, 32].flatMap(length => [true, false].map(reuse => [paths, length, reuse])),
  )
  return [...single, ...combined].map(samplesCheck).concat(refusedChecks(root, folder, files[1]))
}

function samplesCheck([paths, length, reuse]) {
  const config = continuous(length, reuse)
  return {
    name: `samples of ${paths.length} file(s) ${paths[0].slice(-6)}, sequence_length ${length}, reuse_last_target ${reuse}`,
    job: { do: 'dataset_samples', config: paths.length === 1 ? config(paths[0]) : combine(paths.map(config)) },
    ours: async answer => {
      const [path, ...more_paths] = paths
      const options = {
        path,
        more_paths,
        sequence_length: length,
        reuse_last_target: reuse,
        batch_size: 1,
        shuffle: 'none',
      }
      const samples = await shuffleSamples(options)
        .toArray()
        .catch(() => 'refused')
      const mine = samples === 'refused' ? samples : samples.map(({ tokens }) => [...tokens])
      return [mine, answer.value ?? 'refused']
    },
  }
}

const continuous = (sequence_length, reuse_last_target) => raw_data_path => ({
  ...{ component_key: 'dataset', variant_key: 'packed_mem_map_dataset_continuous' },
  config: { raw_data_path, sequence_length, sample_key: 'x', reuse_last_target },
})

const combine = datasets => ({ component_key: 'dataset', variant_key: 'combined', config: { datasets } })

/** Checks that what we reject cannot train in Modalities either: it is built there and passed to its collator. */
function refusedChecks(root, folder, packed) {
  const text = join(folder, 'text.jsonl')
  writeFileSync(text, '{"text": "a b c"}\n')
  writeFileSync(join(folder, 'text.idx'), writePairList([[0, 17]]))
  const model = join(root, 'test', 'fixtures', 'sentencepiece', 'bpe-bytes.model')
  const tokenizer = {
    component_key: 'tokenizer',
    variant_key: 'pretrained_sp_tokenizer',
    config: { tokenizer_model_file: model },
  }
  const configs = {
    packed_mem_map_dataset_megatron: { raw_data_path: packed, block_size: 8, sample_key: 'x' },
    mem_map_dataset: { raw_data_path: text, index_path: null, tokenizer, jq_pattern: '.text', sample_key: 'x' },
  }
  return Object.entries(configs).map(([variant_key, config]) => ({
    name: `training on ${variant_key}`,
    job: { do: 'dataset_for_training', config: { variant_key, config } },
    ours: answer => [
      modalitiesComponents.dataset[variant_key].unsupported === undefined ? 'trains' : 'refused',
      answer.error === undefined ? 'trains' : 'refused',
    ],
  }))
}

function packedFile(path, count, width) {
  const random = pythonRandom(count)
  const data = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[width].from({ length: count }, () =>
    random.getrandbits(Math.min(8 * width, 20)),
  )
  const header = encodePbinHeader({ dataBytes: data.byteLength, tokenBytes: width })
  writeFileSync(path, Buffer.concat([header, new Uint8Array(data.buffer), writePairList([[0, data.byteLength]])]))
  return path
}
