import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { changingSync, copyFolder, removeFolder } from '#src/files/durable'
import { copyOver, writeOver } from '#src/files/replace-file'
import { temporaryFolder } from '../stages/support.js'

const root = temporaryFolder()
let folders = 0
let folder: string
const at = (name: string): string => join(folder, name)
const unwritable = (file: string) => ({ code: 'FILE_UNWRITABLE', where: { file } })

beforeEach(() => {
  folder = join(root, `folder-${folders++}`)
  mkdirSync(folder)
})

describe('writeOver', () => {
  it('replaces the file and leaves no temporary file, not even of a killed run', async () => {
    writeFileSync(at('file'), 'old')
    writeFileSync(at('file.part'), 'half of an earlier run')
    const part = { file: 'file.part', inode: statSync(at('file.part')).ino }
    writeFileSync(at('file.lock'), `{"lock":"penstock"}\n${JSON.stringify(part)}\n`)
    await writeOver(at('file'), 'new')
    expect(readFileSync(at('file'), 'utf8')).toBe('new')
    await copyOver(at('file'), at('copy'))
    expect(readFileSync(at('copy'), 'utf8')).toBe('new')
    expect(readdirSync(folder).sort()).toEqual(['copy', 'file'])
  })

  it('names a file that cannot be written and leaves it unchanged', async () => {
    mkdirSync(at('file'))
    await expect(writeOver(at('file'), 'new')).rejects.toMatchObject(unwritable(at('file')))
    expect(readdirSync(folder)).toEqual(['file'])
    await expect(copyOver(at('none'), at('copy'))).rejects.toMatchObject({
      code: 'FILE_UNREADABLE',
      where: { file: at('none') },
    })
  })
})

it('a device is written to instead of being replaced', async () => {
  symlinkSync('/dev/null', at('device'))
  await writeOver(at('device'), 'new')
  expect(lstatSync(at('device')).isSymbolicLink()).toBe(true)
  expect(readdirSync(folder)).toEqual(['device'])
})

describe('folder operations', () => {
  it('copy atomically, and keep a folder with the temporary name', async () => {
    mkdirSync(at('from/inner'), { recursive: true })
    writeFileSync(at('from/inner/file'), 'x')
    mkdirSync(at('.to.partial'))
    writeFileSync(at('.to.partial/half'), '')
    await expect(copyFolder(at('from'), at('to'))).rejects.toMatchObject(unwritable(at('to')))
    expect(readdirSync(at('.to.partial'))).toEqual(['half'])
    rmSync(at('.to.partial'), { recursive: true })
    await copyFolder(at('from'), at('to'))
    expect(readdirSync(folder).sort()).toEqual(['from', 'to'])
    expect(readdirSync(at('to'), { recursive: true }).sort()).toEqual(['inner', join('inner', 'file')])
    writeFileSync(at('taken'), '')
    await expect(copyFolder(at('from'), at('taken'))).rejects.toMatchObject(unwritable(at('taken')))
  })

  it('name a folder that cannot be removed', async () => {
    await removeFolder(at('none'))
    const below = join(at('file'), 'folder')
    writeFileSync(at('file'), '')
    await expect(removeFolder(below)).rejects.toMatchObject(unwritable(below))
  })
})

it('a synchronous change names its file on failure', () => {
  const change = () => changingSync(at('link'), () => mkdirSync(at('none/folder')))
  expect(change).toThrow(expect.objectContaining(unwritable(at('link'))))
})
