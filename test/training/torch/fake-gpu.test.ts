/** The CUDA path of the torch engine on fake tensors, in a fake world of eight ranks; needs a torch with CUDA and g++. */
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
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

test.skipIf(libraries === undefined)(
  'every layout runs on fake GPUs without waiting for them',
  { timeout: slow },
  () => {
    buildDriver(libraries!)
    const stub = join(folder, 'stub.so')
    execFileSync('g++', ['-std=c++17', '-shared', '-fPIC', '-o', stub, join(sources, 'stub.cpp')])
    const env = { ...process.env, PYTHONPATH: join(ROOT, 'torch'), LD_PRELOAD: stub, LD_LIBRARY_PATH: folder }
    const { status, stdout, stderr } = spawnSync(torchPython!, [join(sources, 'worker.py'), stub], {
      encoding: 'utf8',
      env,
    })
    expect(status, stderr.slice(-3000)).toBe(0)
    const found = new Map(
      stdout
        .trim()
        .split('\n')
        .map(line => JSON.parse(line))
        .map(({ layout, ...rest }) => [layout, rest]),
    )
    expect(found.size).toBe(12)
    for (const { shapes, device } of found.values()) {
      expect(device).toBe('cuda')
      expect(shapes).toEqual([[2], [1], [1024]])
    }
    // Two layers, embedding, and head with norm: one group each. The head stays gathered for the backward pass.
    expect(found.get('shards').collectives).toEqual({ 'all-gather': 7, 'reduce-scatter': 4, 'all-reduce': 1 })
    expect(found.get('tied').collectives).toEqual({ 'all-gather': 5, 'reduce-scatter': 3, 'all-reduce': 1 })
    expect(found.get('replicas').collectives).toEqual({ 'all-reduce': 5 })
  },
)
