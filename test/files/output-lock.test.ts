import { spawn, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { openOutput } from '#src/files/output-file'
import { OutputLock } from '#src/files/output-lock'
import { ownIdentity } from '#src/files/process-identity'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
let files = 0
const fresh = (): string => join(folder, `file-${files++}`)
const foreign = { host: 'elsewhere', boot: 'another', namespace: 'pid:[1]', pid: 1, start: '1' }
const claim = (owner: string, after: string, holder: object) =>
  `${JSON.stringify({ lock: 'penstock', owner, after, ...holder })}\n`

describe('a lock', () => {
  it('is taken over at once from a dead process, even if the pid was reused', async () => {
    const path = fresh()
    const own = ownIdentity()
    const died = spawnSync('true').pid
    writeFileSync(`${path}.lock`, claim('a', '', { ...own, pid: died }))
    await (await OutputLock.acquire(path)).release()
    writeFileSync(`${path}.lock`, claim('a', '', { ...own, start: '1' }))
    await (await OutputLock.acquire(path)).release()
    expect(existsSync(`${path}.lock`)).toBe(false)
  })

  it.runIf(process.platform === 'linux')('is taken over at once from a zombie', async () => {
    const path = fresh()
    // exec replaces the shell by a program that never waits for the shell's child.
    const shell = spawn('sh', ['-c', 'sleep 0.05 & echo $!; exec sleep 5'])
    const pid = Number(await new Promise<string>(resolve => shell.stdout.once('data', data => resolve(String(data)))))
    const start = readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[21]
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toContain(') Z ')
    writeFileSync(`${path}.lock`, claim('a', '', { ...ownIdentity(), pid, start }))
    await (await OutputLock.acquire(path)).release()
    shell.kill()
  })

  it('of another machine or container is respected while its heartbeat goes on', async () => {
    const path = fresh()
    writeFileSync(`${path}.lock`, claim('a', '', foreign))
    const beats = setInterval(() => utimesSync(`${path}.lock`, new Date(), new Date()), 100)
    const refused = expect(OutputLock.acquire(path)).rejects
    await refused.toMatchObject({ code: 'FILE_LOCKED', message: expect.stringContaining('elsewhere') })
    clearInterval(beats)
  })

  it('of another machine or container that is released meanwhile is respected too', async () => {
    const path = fresh()
    writeFileSync(`${path}.lock`, claim('a', '', foreign))
    const refused = expect(OutputLock.acquire(path)).rejects.toMatchObject({ code: 'FILE_LOCKED' })
    await new Promise(resolve => setTimeout(resolve, 100))
    rmSync(`${path}.lock`)
    await refused
    await (await OutputLock.acquire(path)).release()
  })

  it('of another machine or container is taken over when its heartbeat has stopped', async () => {
    const path = fresh()
    writeFileSync(`${path}.lock`, claim('a', '', foreign))
    const started = performance.now()
    await (await OutputLock.acquire(path, 1500)).release()
    expect(performance.now() - started).toBeGreaterThan(1400)
  })

  it('goes to the first of several claims', async () => {
    const path = fresh()
    const held = await OutputLock.acquire(path)
    const [, nonce] = /"owner":"([^"]*)"/.exec(readFileSync(`${path}.lock`, 'utf8'))!
    appendFileSync(`${path}.lock`, claim('late', '', foreign))
    await held.verify()
    appendFileSync(`${path}.lock`, claim('b', nonce!, foreign))
    await expect(held.verify()).rejects.toMatchObject({ code: 'FILE_LOCKED' })
    await held.release()
    expect(existsSync(`${path}.lock`)).toBe(true)
  })

  it('that was lost stops the run before it writes again, and leaves the files to the new owner', async () => {
    const path = fresh()
    const file = (await openOutput(path, 'error'))!
    const log = readFileSync(`${path}.lock`, 'utf8')
    const [, nonce] = /"owner":"([^"]*)"/.exec(log)!
    appendFileSync(`${path}.lock`, claim('b', nonce!, { ...foreign, host: hostname() }))
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 5000 })
    await expect(file.write(Buffer.alloc(4 << 20))).rejects.toMatchObject({ code: 'FILE_LOCKED' })
    vi.useRealTimers()
    await expect(file.commit()).rejects.toMatchObject({ code: 'FILE_LOCKED' })
    await expect(file.abandon()).rejects.toMatchObject({ code: 'FILE_LOCKED' })
    expect(existsSync(`${path}.part`)).toBe(true)
    expect(existsSync(path)).toBe(false)
  })

  it('is lost when its file is removed', async () => {
    const path = fresh()
    const lock = await OutputLock.acquire(path)
    rmSync(`${path}.lock`)
    await expect(lock.verify()).rejects.toMatchObject({ code: 'FILE_LOCKED' })
    await lock.release()
  })

  it.each(['', '{"lo', '{"lock":"penstock","owner":"a","aft'])(
    'that a killed process left as %j is taken over',
    async text => {
      const path = fresh()
      writeFileSync(`${path}.lock`, text)
      await (await OutputLock.acquire(path)).release()
      expect(existsSync(`${path}.lock`)).toBe(false)
    },
  )

  it('cannot be taken if its file is a folder, a link or something else', async () => {
    const [path, linked, other] = [fresh(), fresh(), fresh()]
    mkdirSync(`${path}.lock`)
    await expect(OutputLock.acquire(path)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
    symlinkSync(fresh(), `${linked}.lock`)
    await expect(OutputLock.acquire(linked)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    writeFileSync(`${other}.lock`, '4711 12345')
    await expect(OutputLock.acquire(other)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
  })

  it('proves the temporary files of a killed run, and nothing else', async () => {
    const path = fresh()
    const killed = (await openOutput(path, 'error'))!
    await killed.write(Buffer.alloc(1 << 20))
    const log = readFileSync(`${path}.lock`, 'utf8')
    rmSync(`${path}.lock`)
    writeFileSync(`${path}.lock`, log.replaceAll(`"pid":${process.pid}`, `"pid":${spawnSync('true').pid}`))
    await (await openOutput(path, 'error'))!.abandon()
    expect(existsSync(`${path}.part`)).toBe(false)
  })
})
