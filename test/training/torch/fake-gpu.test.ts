/** The CUDA path of the torch engine on fake tensors; needs a torch with CUDA and g++. */
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { type ModelInput, parseTraining, resolveModel, type TorchOptions } from '#src/training/options'
import { rankMemory } from '#src/training/torch/memory'
import { ROOT } from '../../cli/support.js'
import { temporaryFolder } from '../../stages/support.js'
import { slow, torchPython } from './fixtures.js'

const folder = temporaryFolder()
const sources = fileURLToPath(new URL('fake-gpu', import.meta.url))

/** Folder of torch's libraries; undefined without a torch for CUDA and a compiler. */
const libraries = ((): string | undefined => {
  if (torchPython === undefined || spawnSync('g++', ['--version']).status !== 0) return undefined
  const script = 'import os, torch; print(os.path.dirname(torch.__file__) + "/lib" if torch.version.cuda else "")'
  return execFileSync(torchPython, ['-c', script], { encoding: 'utf8' }).trim() || undefined
})()

/** Writes a library in place of NVIDIA's driver, in which every function that torch needs succeeds and does nothing. */
function buildDriver(from: string): void {
  const files = ['libcaffe2_nvrtc.so', 'libc10_cuda.so', 'libtorch_cuda.so'].map(name => join(from, name))
  const symbols = execFileSync('nm', ['-D', '--undefined-only', ...files], { encoding: 'utf8', maxBuffer: 1 << 28 })
  const special = ['cuGetProcAddress', 'cuGetProcAddress_v2', 'cuDevicePrimaryCtxGetState']
  const names = new Set([...symbols.matchAll(/ U (cu[A-Z]\w*)/g)].map(match => match[1]!))
  const code = [
    '#include <string.h>',
    ...[...names].filter(name => !special.includes(name)).map(name => `int ${name}() { return 0; }`),
    'static int none() { return 0; }',
    'int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) {',
    '  if (flags) *flags = 0; if (active) *active = 0; return 0; }',
    'int cuGetProcAddress_v2(const char *name, void **found, int version, unsigned long long flags, int *status) {',
    '  *found = strcmp(name, "cuDevicePrimaryCtxGetState") ? (void *)none : (void *)cuDevicePrimaryCtxGetState;',
    '  if (status) *status = 0; return 0; }',
    'int cuGetProcAddress(const char *name, void **found, int version, unsigned long long flags) {',
    '  return cuGetProcAddress_v2(name, found, version, flags, 0); }',
  ]
  writeFileSync(join(folder, 'driver.c'), code.join('\n'))
  const output = join(folder, 'libcuda.so.1')
  execFileSync('gcc', ['-w', '-shared', '-fPIC', '-Wl,-soname,libcuda.so.1', '-o', output, join(folder, 'driver.c')])
}

interface Layout {
  readonly name: string
  readonly model?: ModelInput
  readonly torch?: Partial<TorchOptions>
  readonly documents?: boolean
  /** Rows of a micro batch; makes the worker measure memory. */
  readonly rows?: number
  readonly microBatches?: number
}

/** Runs layouts in one Python process. Returns the result of each by name. */
function runLayouts<Result>(base: ModelInput, layouts: readonly Layout[]): Map<string, Result> {
  buildDriver(libraries!)
  const stub = join(folder, 'stub.so')
  execFileSync('g++', ['-std=c++17', '-shared', '-fPIC', '-o', stub, join(sources, 'stub.cpp')])
  const env = { ...process.env, PYTHONPATH: join(ROOT, 'torch'), LD_PRELOAD: stub, LD_LIBRARY_PATH: folder }
  const input = layouts.map(({ model, torch, microBatches, ...others }) => ({
    ...others,
    model: resolveModel({ ...base, ...model }),
    torch: { shard_degree: null, ...parseTraining({ torch: torch ?? {} }).torch },
    micro_batches: microBatches ?? 1,
  }))
  const { status, stdout, stderr } = spawnSync(torchPython!, [join(sources, 'worker.py'), stub], {
    encoding: 'utf8',
    env,
    input: JSON.stringify(input),
  })
  expect(status, stderr.slice(-3000)).toBe(0)
  const lines = stdout.trim().split('\n')
  return new Map(lines.map(line => JSON.parse(line)).map(({ name, ...result }) => [name, result]))
}

const small = { vocab_size: 1024, sequence_length: 64, layers: 2, heads: 4, kv_heads: 2, width: 64, ffn_width: 192 }
const gpt2 = { position: 'learned', norm: 'layer', activation: 'gelu', bias: true, tie_weights: true } as const
const tiedGpt2 = { ...gpt2, kv_heads: 4 }

describe.skipIf(libraries === undefined)('in a world of eight fake GPUs', { timeout: slow }, () => {
  test('every layout runs without waiting for the GPU', () => {
    interface Result {
      readonly collectives: object
      readonly shapes: number[][]
      readonly device: string
      readonly kernels: string[]
      readonly warning: string | null
    }
    const found = runLayouts<Result>(small, [
      { name: 'shards' },
      { name: 'activation checkpointing', torch: { activation_checkpointing: true } },
      { name: 'selective checkpointing', torch: { activation_checkpointing: 'selective' } },
      { name: 'tied', model: tiedGpt2 },
      { name: 'replicas of shards', torch: { replicate_degree: 2 } },
      { name: 'replicas', torch: { replicate_degree: 8, shard_degree: 1 } },
      { name: 'tensor parallel', torch: { tensor_parallel: 2 } },
      { name: 'tensor parallel, tied', model: tiedGpt2, torch: { tensor_parallel: 2 } },
      { name: 'tensor parallel, replicas', torch: { tensor_parallel: 2, replicate_degree: 2 } },
      {
        name: 'tensor parallel, selective',
        torch: { tensor_parallel: 2, activation_checkpointing: 'selective', checkpointed_layers_every: 2 },
      },
      { name: 'micro batches', microBatches: 4 },
      { name: 'reduced per step', microBatches: 4, torch: { reduce_every: 'step' } },
      { name: 'replicas of shards, micro batches', microBatches: 4, torch: { replicate_degree: 2 } },
      { name: 'float32', torch: { mixed_precision: 'none' } },
      { name: 'documents', documents: true },
      { name: 'documents, tensor parallel', model: tiedGpt2, torch: { tensor_parallel: 2 }, documents: true },
      { name: 'documents, float32', torch: { mixed_precision: 'none' }, documents: true },
    ])
    expect(found.size).toBe(17)
    for (const [name, { shapes, device, kernels, warning }] of found) {
      expect(device).toBe('cuda')
      expect(kernels).toEqual(['CUDNN_ATTENTION', 'FLASH_ATTENTION', 'EFFICIENT_ATTENTION', 'MATH'])
      // Float32 has no fast kernel for shared key heads.
      if (name.endsWith('float32')) expect(warning).toMatch(/math kernel.*shared key heads.*mixed_precision/)
      else expect(warning, name).toBeNull()
      expect(shapes).toEqual([[2], [1], [1024]])
    }
    const collectivesOf = (name: string) => found.get(name)!.collectives
    // Two layers, embedding, and head with norm: one group each. The head stays gathered for the backward pass.
    expect(collectivesOf('shards')).toEqual({ 'all-gather': 7, 'reduce-scatter': 4, 'all-reduce': 1 })
    expect(collectivesOf('tied')).toEqual({ 'all-gather': 5, 'reduce-scatter': 3, 'all-reduce': 1 })
    expect(collectivesOf('replicas')).toEqual({ 'all-reduce': 5 })
    expect(collectivesOf('micro batches')).toEqual({ 'all-gather': 28, 'reduce-scatter': 16, 'all-reduce': 1 })
    expect(collectivesOf('reduced per step')).toEqual({ 'all-gather': 28, 'reduce-scatter': 4, 'all-reduce': 1 })
    // Two all-reduces are of sums over the vocabulary, and no all-gather is of logits.
    expect(collectivesOf('tensor parallel')).toEqual({ 'all-gather': 17, 'reduce-scatter': 14, 'all-reduce': 8 })
    // The replicas of each group are reduced once per step, not per micro batch; the fifth reduction is of loss and norm.
    const replicas = { 'all-gather': 28, 'reduce-scatter': 16, 'all-reduce': 5 }
    expect(collectivesOf('replicas of shards, micro batches')).toEqual(replicas)
  })

  test('peak memory is what the formula of plan gives, within 5 %', () => {
    const base = {
      ...small,
      vocab_size: 32_768,
      sequence_length: 2048,
      heads: 16,
      kv_heads: 4,
      width: 2048,
      ffn_width: 5632,
    }
    const layouts: Layout[] = [
      { name: 'shards', rows: 2 },
      { name: 'large batch', rows: 8 },
      { name: 'checkpointed', rows: 8, model: { layers: 4 }, torch: { activation_checkpointing: true } },
      { name: 'selective', rows: 8, torch: { activation_checkpointing: 'selective' } },
      { name: 'half', rows: 8, torch: { activation_checkpointing: true, checkpointed_layers_every: 2 } },
      { name: 'micro batches', rows: 2, microBatches: 2 },
      { name: 'reduced per step', rows: 1, microBatches: 2, torch: { reduce_every: 'step' } },
      { name: 'gpt-2', rows: 2, model: { ...gpt2, kv_heads: 16, ffn_width: 8192, vocab_size: 50_304 } },
      { name: 'replicas', rows: 1, torch: { replicate_degree: 8, shard_degree: 1 } },
      { name: 'replicas of shards', rows: 1, torch: { replicate_degree: 4 } },
      { name: 'tensor parallel', rows: 4, torch: { tensor_parallel: 4 } },
      {
        name: 'wide normalized heads',
        rows: 8,
        model: { qk_norm: true, kv_heads: 16, head_dim: 256, ffn_width: 2048 },
      },
      { name: 'float32', rows: 2, torch: { mixed_precision: 'none' } },
    ]
    const found = runLayouts<{ held: number; peak: number }>(base, layouts)
    for (const { name, model, torch, rows, microBatches = 1 } of layouts) {
      const work = { worldSize: 8, rows: rows!, microBatches }
      const planned = rankMemory(resolveModel({ ...base, ...model }), parseTraining({ torch: torch ?? {} }).torch, work)
      const { held, peak } = found.get(name)!
      expect((planned.weights + planned.moments) / held, name).toBeCloseTo(1, 2)
      expect(planned.peak / peak, name).toBeGreaterThan(0.95)
      expect(planned.peak / peak, name).toBeLessThan(1.05)
    }
  })
})
