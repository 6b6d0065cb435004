import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { ownIdentity } from '#src/files/process-identity'
import { makeRunFolder } from '#src/training/torch/run-folder'
import { temporaryFolder } from '../../stages/support.js'

test('the folders of dead runs are removed at the next start, others are kept', async () => {
  const root = temporaryFolder()
  vi.stubEnv('TMPDIR', root)
  const folderOf = (owner: object | undefined): string => {
    const folder = mkdtempSync(join(root, 'penstock-torch-'))
    if (owner !== undefined) writeFileSync(join(folder, 'owner.json'), JSON.stringify(owner))
    return folder
  }
  const own = await ownIdentity()
  const { pid } = spawnSync(process.execPath, ['--version'])
  const dead = folderOf({ ...own, pid })
  const kept = [folderOf(own), folderOf({ ...own, pid, host: 'another machine' }), folderOf(undefined)]
  const made = await makeRunFolder()
  expect(existsSync(dead)).toBe(false)
  for (const folder of [...kept, made]) expect(existsSync(folder)).toBe(true)
  vi.unstubAllEnvs()
})
