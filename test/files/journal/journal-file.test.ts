import { appendFileSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { provenInode } from '#src/files/file-proof'
import { JournalFile, readJournal } from '#src/files/journal/journal-file'
import { OutputLock } from '#src/files/output-lock'
import { journalPathOf } from '#src/files/side-files'
import { temporaryFolder } from '../../stages/support.js'

const folder = temporaryFolder()
let files = 0
const fresh = (): string => join(folder, `output-${files++}`)

/** Creates the journal of an output and returns it with its path. */
async function create(output: string) {
  const path = journalPathOf(output)
  return { path, journal: await JournalFile.create(await OutputLock.acquire(output), [{ header: 1 }]) }
}
const recordsOf = async (path: string): Promise<readonly unknown[]> => (await readJournal(path)).records

describe('a journal', () => {
  it('is an error if it cannot be read, since a run without it would start over', async () => {
    const { path, journal } = await create(fresh())
    await journal.close()
    const proof = { inode: 0, bytes: 4, checksum: 0 }
    const tooLong = join(folder, 'x'.repeat(300))
    await expect(readJournal(tooLong)).rejects.toMatchObject({ code: 'FILE_UNREADABLE', where: { file: tooLong } })
    await expect(provenInode(tooLong, proof)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
    const probe = await open(path)
    const broken = vi.spyOn(Object.getPrototypeOf(probe) as FileHandle, 'read').mockRejectedValue(new Error('EIO'))
    await expect(readJournal(path)).rejects.toMatchObject({ code: 'FILE_UNREADABLE', where: { file: path } })
    await expect(provenInode(path, proof)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
    broken.mockRestore()
    await probe.close()
    expect(await recordsOf(path)).toEqual([{ header: 1 }])
  })

  it.runIf(process.platform === 'linux')('has no records if it is missing, a link or no file', async () => {
    const path = journalPathOf(fresh())
    expect(await recordsOf(path)).toEqual([])
    symlinkSync('elsewhere', path)
    expect(await recordsOf(path)).toEqual([])
    expect(await recordsOf(folder)).toEqual([])
    expect(await recordsOf('/dev/null')).toEqual([])
  })

  it('returns its records', async () => {
    const { path, journal } = await create(fresh())
    const records = [{ bytes: 2 ** 40, state: Uint8Array.of(1, 2, 3) }, { facts: { a: undefined, b: null } }]
    for (const record of records) await journal.append(record)
    await journal.close()
    const [header, first, second] = (await recordsOf(path)) as [unknown, (typeof records)[0], unknown]
    expect(header).toEqual({ header: 1 })
    expect([first.bytes, ...first.state!]).toEqual([2 ** 40, 1, 2, 3])
    expect(second).toEqual(records[1])
  })

  it('returns the complete records after truncation anywhere', async () => {
    const { path, journal } = await create(fresh())
    const ends = [statSync(path).size]
    for (let record = 0; record < 3; record++) {
      await journal.append({ record, text: 'x'.repeat(record * 5) })
      ends.push(statSync(path).size)
    }
    await journal.close()
    const whole = readFileSync(path)
    for (let bytes = 0; bytes <= whole.length; bytes++) {
      writeFileSync(path, whole.subarray(0, bytes))
      expect(await recordsOf(path)).toHaveLength(ends.filter(end => end <= bytes).length)
    }
  })

  it('never returns an altered record when any byte is changed', async () => {
    const { path, journal } = await create(fresh())
    for (const record of ['one', 'two']) await journal.append({ record })
    await journal.close()
    const whole = readFileSync(path)
    const written = (await recordsOf(path)).map(record => JSON.stringify(record))
    for (let at = 0; at < whole.length; at++) {
      const changed = Buffer.from(whole)
      changed[at]! ^= 1 << (at % 8)
      writeFileSync(path, changed)
      const records = (await recordsOf(path)).map(record => JSON.stringify(record))
      expect(records).toEqual(written.slice(0, records.length))
      expect(records.length).toBeLessThan(3)
    }
  })

  it('stays small with many records and keeps the newest', async () => {
    const { path, journal } = await create(fresh())
    for (let record = 0; record < 200; record++) await journal.append({ record, frame: new Uint8Array(64 << 10) })
    await journal.close()
    expect(statSync(path).size).toBeLessThanOrEqual(4 << 20)
    const records = (await recordsOf(path)) as { header?: number; record?: number }[]
    expect(records[0]).toEqual({ header: 1 })
    expect(records.at(-1)!.record).toBe(199)
  })

  it('has no records if it is garbage', async () => {
    const path = fresh()
    expect(await recordsOf(path)).toEqual([])
    appendFileSync(path, 'garbage of some length')
    expect(await recordsOf(path)).toEqual([])
  })

  it('ignores zeros that a power cut left', async () => {
    const output = fresh()
    const path = journalPathOf(output)
    writeFileSync(path, new Uint8Array(100))
    expect(await recordsOf(path)).toEqual([])
    rmSync(path)
    const { journal } = await create(output)
    await journal.close()
    appendFileSync(path, new Uint8Array(100))
    expect(await recordsOf(path)).toEqual([{ header: 1 }])
  })
})
