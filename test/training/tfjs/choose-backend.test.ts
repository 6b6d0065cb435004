import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { resolveBackend } from '#src/training/open-engine'
import { openBackend } from '#src/training/tfjs/backends'
import { chooseBackend } from '#src/training/tfjs/choose-backend'

const before = { ...process.env }
let empty: string

beforeAll(async () => {
  empty = await mkdtemp(join(tmpdir(), 'penstock-cache-'))
  // Hides separately installed packages.
  process.env.XDG_CACHE_HOME = empty
  delete process.env.PENSTOCK_PEERS
})

afterAll(async () => {
  process.env = before
  await rm(empty, { recursive: true })
})

test('auto chooses wasm when nothing else is installed, and reports why', async () => {
  const { backend, reason } = await chooseBackend()
  expect(backend).toBe('wasm')
  expect(reason.split('; ').slice(0, 3)).toEqual([
    'node-gpu is not installed',
    'node is not installed',
    'webgpu is not installed',
  ])
})

test('a named backend is kept, and the torch engine needs none', async () => {
  expect(await resolveBackend({ engine: 'tfjs', backend: 'cpu' })).toEqual({ backend: 'cpu' })
  expect(await resolveBackend({ engine: 'torch', backend: 'auto' })).toEqual({ backend: 'wasm' })
})

test('a resumed run keeps the backend of its checkpoint, even if another is faster', async () => {
  const kept = await resolveBackend({ engine: 'tfjs', backend: 'auto' }, { engine: 'tfjs', backend: 'cpu' })
  expect(kept.backend).toBe('cpu')
  expect(kept.reason).toContain('checkpoint')
  const named = await resolveBackend({ engine: 'tfjs', backend: 'wasm' }, { engine: 'tfjs', backend: 'cpu' })
  expect(named).toEqual({ backend: 'wasm' })
})

test.each([
  ['node', 'npx penstock setup tfjs-node'],
  ['node-gpu', 'npx penstock setup tfjs-node-gpu'],
  ['webgpu', 'npm install webgpu @tensorflow/tfjs-backend-webgpu@4.22.0'],
] as const)('the error for the missing backend %s names the install command', async (name, command) => {
  const message = expect.stringContaining(command)
  await expect(openBackend(name)).rejects.toMatchObject({ code: 'PEER_MISSING', message })
})
