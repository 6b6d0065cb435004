import { spawn, spawnSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openOutput } from '#src/files/output-file'
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

  it('names a temporary file that cannot be removed', async () => {
    const path = fresh()
    const file = (await openOutput(path, 'error'))!
    await file.write(Buffer.from('all of it'))
    mkdirSync(`${path}.scratch.part`)
    await expect(file.commit()).rejects.toMatchObject({
      code: 'FILE_UNWRITABLE',
      where: { file: `${path}.scratch.part` },
    })
    expect(readFileSync(path, 'utf8')).toBe('all of it')
  })

  it('has one writer at a time', async () => {
    const path = fresh()
    const first = (await openOutput(path, 'error'))!
    await expect(openOutput(path, 'error')).rejects.toMatchObject({ code: 'FILE_LOCKED' })
    await first.abandon()
    await (await openOutput(path, 'error'))!.abandon()
  })

  it('is unlocked after its run died, even if the pid was reused', async () => {
    const path = fresh()
    const died = spawnSync('true').pid
    writeFileSync(`${path}.lock`, `${died} 12345`)
    writeFileSync(`${path}.part`, 'half written by it')
    const file = (await openOutput(path, 'error'))!
    await file.commit()
    expect(readFileSync(path, 'utf8')).toBe('')

    writeFileSync(`${path}.lock`, `${process.pid} 1`)
    await (await openOutput(path, 'override'))!.abandon()
  })

  it('removes a stale lock that a killed run had renamed', async () => {
    const path = fresh()
    writeFileSync(`${path}.lock.stale`, '1 1')
    await (await openOutput(path, 'error'))!.commit()
    expect(leftovers(path)).toEqual([])
  })

  it('stays locked when the lock cannot be read', async () => {
    const path = fresh()
    mkdirSync(`${path}.lock`)
    await expect(openOutput(path, 'error')).rejects.toMatchObject({
      code: 'FILE_UNREADABLE',
      where: { file: `${path}.lock` },
    })
    expect(leftovers(path)).toEqual([`${path.slice(folder.length + 1)}.lock`])
  })

  it.runIf(process.platform === 'linux')('is unlocked when its run is a zombie', async () => {
    const path = fresh()
    // exec replaces the shell by a program that never waits for the shell's child.
    const shell = spawn('sh', ['-c', 'sleep 0.05 & echo $!; exec sleep 5'])
    const pid = await new Promise<string>(resolve => shell.stdout.once('data', data => resolve(String(data).trim())))
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toContain(') Z ')
    writeFileSync(`${path}.lock`, pid)
    await (await openOutput(path, 'error'))!.abandon()
    shell.kill()
  })
})
