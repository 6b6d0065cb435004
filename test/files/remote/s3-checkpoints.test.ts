/** Checkpoints in an object store: uploaded as a whole, resumed from another machine, and used by generate. */
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listObjects } from '#src/files/remote/s3-store'
import { penstock } from '../../cli/support.js'
import { byteTokenizer } from '../../stages/byte-tokenizer.js'
import { temporaryFolder } from '../../stages/support.js'
import { type ObjectStore, s3Python, startObjectStore } from './object-store.js'

const folder = temporaryFolder()
const at = (...names: string[]): string => join(folder, ...names)

function definition(name: string, checkpoints: string): string {
  const training = `{ tokenizer: tokenizer.json, batch_size: 4, steps: 8, log_every_steps: 1, model: { sequence_length: 16, layers: 1, heads: 2, width: 32 }, checkpoint: { folder: ${checkpoints}, every_steps: 2, keep: 2 } }`
  writeFileSync(
    at(name),
    `stages:\n  - shuffle-samples: { path: data.pbin, sequence_length: 16, batch_size: 4, epochs: endless }\n  - feed-trainer: ${training}\n`,
  )
  return at(name)
}

describe.skipIf(s3Python === undefined)(
  'checkpoints in an object store (needs: node scripts/setup-python.mjs s3)',
  () => {
    let store: ObjectStore
    const env = (machine: string) => ({ ...store.env, XDG_CACHE_HOME: at(machine) })
    const names = async (): Promise<string[]> =>
      (await listObjects('s3://training/run/')).map(({ name }) => name.slice('s3://training/run/'.length)).sort()
    const weights = (step: string) => store.get('training', `run/${step}/model.safetensors`)

    beforeAll(async () => {
      store = await startObjectStore(at('store'))
      await store.put('training', 'other', '')
      writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
      writeFileSync(
        at('data.jsonl'),
        Array.from({ length: 300 }, (_, line) => `{"text":"line ${line % 17}"}\n`).join(''),
      )
      const packing = ['pack', at('data.jsonl'), '-t', at('tokenizer.json'), '-o', at('data.pbin')]
      expect(await penstock(packing, folder)).toMatchObject({ code: 0 })
    }, 120_000)
    afterAll(() => store?.stop())

    it('are complete, the newest of them only, and resumed on another machine', async () => {
      const yaml = definition('run.yaml', 's3://training/run')
      expect(await penstock(['train', yaml, '--steps', '4'], folder, env('a'))).toMatchObject({ code: 0 })
      const files = ['model.safetensors', 'optimizer.safetensors', 'state.json', 'tokenizer.json']
      expect(await names()).toEqual(
        ['step-000002', 'step-000004'].flatMap(step => files.map(file => `${step}/${file}`)),
      )
      const resumed = await penstock(['train', yaml, '--steps', '8', '--json'], folder, env('b'))
      expect(resumed).toMatchObject({ code: 0, err: expect.stringContaining('"kind":"resumed","step":4') })
      expect(await names()).toEqual(
        ['step-000006', 'step-000008'].flatMap(step => files.map(file => `${step}/${file}`)),
      )
      const again = await penstock(['train', yaml, '--steps', '8', '--no-resume'], folder, env('c'))
      expect(again).toMatchObject({ code: 1, err: expect.stringContaining('contains checkpoints of an earlier run') })
    }, 120_000)

    it('generate text from any machine', async () => {
      const args = ['generate', 's3://training/run', '--prompt', 'line', '--max-tokens', '3']
      const text = await penstock(args, folder, env('d'))
      expect(text).toMatchObject({ code: 0, out: expect.stringContaining('line') })
    }, 60_000)

    it('without their state are ignored', async () => {
      await store.put('training', 'run/step-000010/model.safetensors', (await weights('step-000008'))!)
      rmSync(at('d'), { recursive: true })
      const yaml = definition('more.yaml', 's3://training/run')
      const resumed = await penstock(['train', yaml, '--steps', '9', '--json'], folder, env('d'))
      expect(resumed.err).toContain('"kind":"resumed","step":8')
    }, 60_000)
  },
)
