/** Checks of a training configuration that must not start a training. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { temporaryFolder } from '../../stages/support.js'
import { penstock } from '../support.js'
import { startConfig, warmstartConfig } from './training-config.js'

const folder = temporaryFolder()
const TOKENS = 4000
const ROOT_FLAGS = ['--experiments_root_path', 'experiments']

beforeAll(() => {
  mkdirSync(join(folder, 'experiments'))
  const header = encodePbinHeader({ dataBytes: TOKENS, tokenBytes: 1 })
  const tokens = Uint8Array.from({ length: TOKENS }, (_, at) => at % 251)
  writeFileSync(join(folder, 'train.pbin'), Buffer.concat([header, tokens, writePairList([[0, TOKENS]])]))
  writeFileSync(join(folder, 'start.yaml'), startConfig(12))
  writeFileSync(join(folder, 'warmstart.yaml'), warmstartConfig)
})

const nothingWritten = () => expect(readdirSync(join(folder, 'experiments'))).toEqual([])

describe('run --check', () => {
  const check = (config: string, ...flags: string[]) =>
    penstock(['run', '--config_file_path', config, ...ROOT_FLAGS, '--check', ...flags], folder)

  it('validates a configuration without training', async () => {
    const { code, out, err } = await check('start.yaml')
    expect({ code, out }).toEqual({ code: 0, out: 'start.yaml: OK (pipelines: train)\n' })
    expect(err).not.toContain('step')
    nothingWritten()
  })

  it('reports a missing warmstart checkpoint', async () => {
    writeFileSync(join(folder, 'lost.yaml'), warmstartConfig.replace(/\$\{warmstart_env:checkpoint_paths\}/, PATHS))
    expect(await check('lost.yaml')).toMatchObject({ code: 1, err: expect.stringContaining('no checkpoint found') })
    nothingWritten()
  })
})

const CHECKPOINT = '/old/eid_x-seen_steps_4-seen_tokens_128-target_steps_12-target_tokens_384'
const PATHS = `{ checkpoint_folder_path: ${CHECKPOINT} }`

describe('warmstart', () => {
  const info = ['--last_checkpoint_info_file_path', 'info.json']
  const warmstart = (config: string, path: string) => {
    writeFileSync(join(folder, 'info.json'), JSON.stringify({ checkpoint_folder_path: path }))
    return penstock(['warmstart', '--config_file_path', config, ...ROOT_FLAGS, ...info], folder)
  }

  it('rejects a configuration that loads no checkpoint', async () => {
    expect(await warmstart('start.yaml', CHECKPOINT)).toMatchObject({
      code: 2,
      err: expect.stringContaining('last_checkpoint_info.json is not used'),
    })
    nothingWritten()
  })

  it('reports a configuration that loads another checkpoint than its info file names', async () => {
    writeFileSync(join(folder, 'fixed.yaml'), warmstartConfig.replace(/\$\{warmstart_env:checkpoint_paths\}/, PATHS))
    const { err } = await warmstart('fixed.yaml', '/new/checkpoint')
    expect(err).toContain(`loads ${CHECKPOINT} instead of the checkpoint in last_checkpoint_info.json`)
    const { err: used } = await warmstart('warmstart.yaml', CHECKPOINT)
    expect(used).not.toContain('instead of the checkpoint')
  })
})
