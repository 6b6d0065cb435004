import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isPublished, openOutput } from '#src/files/output-file'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
let files = 0
const fresh = (): string => join(folder, `file-${files++}`)
const leftovers = (path: string): string[] =>
  readdirSync(folder).filter(name => join(folder, name).startsWith(`${path}.`))

describe('an output', () => {
  it('appears complete at the commit, without temporary files', async () => {
    const path = fresh()
    const file = (await openOutput(path, 'error'))!
    await file.write(Buffer.from('....'))
    await file.write(Buffer.alloc(3 << 20, 'x'))
    await file.write(Buffer.from('end'))
    await file.patch(Buffer.from('head'), 0)
    expect(existsSync(path)).toBe(false)
    await file.commit()
    await file.abandon()
    expect(
      readFileSync(path).equals(Buffer.concat([Buffer.from('head'), Buffer.alloc(3 << 20, 'x'), Buffer.from('end')])),
    ).toBe(true)
    expect(leftovers(path)).toEqual([])
  })

  it('is published once no run is left that has to finish it', async () => {
    const path = fresh()
    expect(await isPublished(path)).toBe(false)
    writeFileSync(path, '')
    writeFileSync(`${path}.journal`, '')
    expect(await isPublished(path)).toBe(false)
    unlinkSync(`${path}.journal`)
    expect(await isPublished(path)).toBe(true)
  })

  it('does not exist after it was abandoned', async () => {
    const path = fresh()
    const file = (await openOutput(path, 'error'))!
    await file.write(Buffer.from('x'))
    await file.abandon()
    expect(existsSync(path)).toBe(false)
    expect(leftovers(path)).toEqual([])
  })

  it('keeps, rejects or replaces an existing file, and replaces it only when complete', async () => {
    const path = fresh()
    writeFileSync(path, 'old')
    expect(await openOutput(path, 'skip')).toBeUndefined()
    await expect(openOutput(path, 'error')).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    const abandoned = (await openOutput(path, 'override'))!
    await abandoned.write(Buffer.from('half'))
    await abandoned.abandon()
    expect(readFileSync(path, 'utf8')).toBe('old')
    const file = (await openOutput(path, 'override'))!
    await file.write(Buffer.from('new'))
    await file.commit()
    expect(readFileSync(path, 'utf8')).toBe('new')
  })

  it('does not replace a device', async () => {
    const path = fresh()
    symlinkSync('/dev/null', path)
    await expect(openOutput(path, 'override')).rejects.toMatchObject({ code: 'FILE_UNWRITABLE', where: { file: path } })
    expect(lstatSync(path).isSymbolicLink()).toBe(true)
    expect(leftovers(path)).toEqual([])
  })

  it('has one writer at a time', async () => {
    const path = fresh()
    const first = (await openOutput(path, 'error'))!
    await expect(openOutput(path, 'error')).rejects.toMatchObject({ code: 'FILE_LOCKED' })
    await first.abandon()
    await (await openOutput(path, 'error'))!.abandon()
  })

  it('keeps a file of somebody else that has one of its temporary names', async () => {
    for (const ending of ['part', 'scratch.part', 'journal', 'lock']) {
      const path = fresh()
      writeFileSync(`${path}.${ending}`, 'not ours')
      const open = async () => (await openOutput(path, 'error'))?.abandon()
      if (ending === 'scratch.part') await open()
      else await expect(open()).rejects.toMatchObject({ code: 'FILE_EXISTS', where: { file: `${path}.${ending}` } })
      expect(readFileSync(`${path}.${ending}`, 'utf8')).toBe('not ours')
      expect(leftovers(path)).toEqual([`${basename(path)}.${ending}`])
    }
  })

  it.each([
    ['hard link', linkSync],
    ['symbolic link', symlinkSync],
  ])('does not write through a %s under its temporary name', async (_, link) => {
    const [path, source] = [fresh(), fresh()]
    writeFileSync(source, 'a source')
    link(source, `${path}.part`)
    await expect(openOutput(path, 'error')).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    expect(readFileSync(source, 'utf8')).toBe('a source')
  })

  it('does not replace a file that appears while it is written', async () => {
    const path = fresh()
    const file = (await openOutput(path, 'error'))!
    await file.write(Buffer.from('new'))
    writeFileSync(path, 'somebody else')
    await expect(file.commit()).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    await file.abandon()
    expect(readFileSync(path, 'utf8')).toBe('somebody else')
    expect(leftovers(path)).toEqual([])
  })

  it.runIf(process.platform !== 'win32')('keeps the permissions of the file that it replaces', async () => {
    for (const mode of [0o600, 0o664]) {
      const path = fresh()
      writeFileSync(path, 'old')
      chmodSync(path, mode)
      const file = (await openOutput(path, 'override'))!
      expect(statSync(`${path}.part`).mode & 0o777).toBe(0o600)
      await file.commit()
      expect(statSync(path).mode & 0o777).toBe(mode)
    }
  })

  it('replaces the target of a link instead of the link', async () => {
    const [path, target] = [fresh(), fresh()]
    writeFileSync(target, 'old')
    symlinkSync(target, path)
    const file = (await openOutput(path, 'override'))!
    await file.write(Buffer.from('new'))
    await file.commit()
    expect(lstatSync(path).isSymbolicLink()).toBe(true)
    expect(readFileSync(target, 'utf8')).toBe('new')
  })

  it('has temporary names that fit the file system when its own name is long', async () => {
    const path = join(folder, 'x'.repeat(255))
    await (await openOutput(path, 'error'))!.commit()
    expect(existsSync(path)).toBe(true)
    expect(readdirSync(folder).filter(name => name.startsWith('xxx'))).toEqual(['x'.repeat(255)])
    await expect(openOutput(`${path}x`, 'error')).rejects.toMatchObject({ code: 'FILE_UNWRITABLE' })
  })
})
