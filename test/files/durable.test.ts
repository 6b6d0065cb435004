import { lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { changingSync, copyFolder, copyOver, removeFolder, writeOver } from '#src/files/durable'
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

describe('a file that is written over another', () => {
  it('takes its place, and nothing else is left, not even of a run that was killed', async () => {
    writeFileSync(at('file'), 'old')
    writeFileSync(at('file.part'), 'half of an earlier run')
    await writeOver(at('file'), 'new')
    expect(readFileSync(at('file'), 'utf8')).toBe('new')
    await copyOver(at('file'), at('copy'))
    expect(readFileSync(at('copy'), 'utf8')).toBe('new')
    expect(readdirSync(folder).sort()).toEqual(['copy', 'file'])
  })

  it('that cannot be written leaves it as it is, and is named', async () => {
    mkdirSync(at('file'))
    await expect(writeOver(at('file'), 'new')).rejects.toMatchObject(unwritable(at('file')))
    expect(readdirSync(folder)).toEqual(['file'])
    await expect(copyOver(at('none'), at('copy'))).rejects.toMatchObject({
      code: 'FILE_UNREADABLE',
      where: { file: at('none') },
    })
  })
})

it('a device is written to, and keeps its name', async () => {
  symlinkSync('/dev/null', at('device'))
  await writeOver(at('device'), 'new')
  expect(lstatSync(at('device')).isSymbolicLink()).toBe(true)
  expect(readdirSync(folder)).toEqual(['device'])
})

describe('a folder', () => {
  it('is copied whole, over the half that a killed run left', async () => {
    mkdirSync(at('from/inner'), { recursive: true })
    writeFileSync(at('from/inner/file'), 'x')
    mkdirSync(at('.to.partial'))
    writeFileSync(at('.to.partial/half'), '')
    await copyFolder(at('from'), at('to'))
    expect(readdirSync(folder).sort()).toEqual(['from', 'to'])
    expect(readdirSync(at('to'), { recursive: true }).sort()).toEqual(['inner', join('inner', 'file')])
    writeFileSync(at('taken'), '')
    await expect(copyFolder(at('from'), at('taken'))).rejects.toMatchObject(unwritable(at('taken')))
  })

  it('that cannot be removed is named', async () => {
    await removeFolder(at('none'))
    const below = join(at('file'), 'folder')
    writeFileSync(at('file'), '')
    await expect(removeFolder(below)).rejects.toMatchObject(unwritable(below))
  })
})

it('a change that cannot wait names its file too', () => {
  const change = () => changingSync(at('link'), () => mkdirSync(at('none/folder')))
  expect(change).toThrow(expect.objectContaining(unwritable(at('link'))))
})
