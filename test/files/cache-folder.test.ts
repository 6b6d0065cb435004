import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { lockFolder } from '#src/files/cache-folder'
import { ownIdentity } from '#src/files/process-identity'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()

it('the lock of a folder is replaced only if its process is dead', () => {
  const path = join(folder, 'environment')
  const lockOf = (owner: object) => writeFileSync(`${path}.lock`, JSON.stringify(owner))
  const locked = expect.objectContaining({ code: 'FILE_LOCKED', where: { file: `${path}.lock` } })
  lockOf(ownIdentity())
  expect(() => lockFolder(path)).toThrow(locked)
  lockOf({ ...ownIdentity(), namespace: 'pid:[1]', pid: 2 ** 22 + 1 })
  expect(() => lockFolder(path)).toThrow(locked)
  lockOf({ ...ownIdentity(), pid: 2 ** 22 + 1 })
  lockFolder(path)()
  expect(existsSync(`${path}.lock`)).toBe(false)
})
