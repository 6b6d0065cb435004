import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { settleBackend } from '#src/training/open-engine'
import { openBackend } from '#src/training/tfjs/backends'
import { chooseBackend } from '#src/training/tfjs/choose-backend'

const before = { ...process.env }
let empty: string

beforeAll(async () => {
  empty = await mkdtemp(join(tmpdir(), 'penstock-cache-'))
  // Nothing that was installed apart is found from here.
  process.env.XDG_CACHE_HOME = empty
  delete process.env.PENSTOCK_PEERS
})

afterAll(async () => {
  process.env = before
  await rm(empty, { recursive: true })
})

test('where nothing else is installed auto takes wasm, and says why not the others', async () => {
  const { backend, reason } = await chooseBackend()
  expect(backend).toBe('wasm')
  expect(reason.split('; ').slice(0, 3)).toEqual([
    'node-gpu is not installed',
    'node is not installed',
    'webgpu is not installed',
  ])
})

test('a backend that is named stays, and the torch engine needs none', async () => {
  expect(await settleBackend({ engine: 'tfjs', backend: 'cpu' })).toEqual({ backend: 'cpu' })
  expect(await settleBackend({ engine: 'torch', backend: 'auto' })).toEqual({ backend: 'wasm' })
})

test('a run that goes on keeps the backend of its checkpoint, also where another would be faster', async () => {
  const kept = await settleBackend({ engine: 'tfjs', backend: 'auto' }, { engine: 'tfjs', backend: 'cpu' })
  expect(kept.backend).toBe('cpu')
  expect(kept.reason).toContain('checkpoint')
  const named = await settleBackend({ engine: 'tfjs', backend: 'wasm' }, { engine: 'tfjs', backend: 'cpu' })
  expect(named).toEqual({ backend: 'wasm' })
})

test.each([
  ['node', 'npx penstock setup tfjs-node'],
  ['node-gpu', 'npx penstock setup tfjs-node-gpu'],
  ['webgpu', 'npm install webgpu @tensorflow/tfjs-backend-webgpu@4.22.0'],
] as const)('the backend %s, not installed, names the command that installs it', async (name, command) => {
  const message = expect.stringContaining(command)
  await expect(openBackend(name)).rejects.toMatchObject({ code: 'PEER_MISSING', message })
})
