import { existsSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { RunJournal } from '#src/files/journal/run-journal'
import { openOutput } from '#src/files/output-file'
import type { Mark } from '#src/formats/batches'
import { temporaryFolder, utf8 } from '../../stages/support.js'

const folder = temporaryFolder()
let files = 0
const fresh = (): string => join(folder, `out-${files++}`)
const MIB = 1 << 20

const open = (path: string, ifExists: 'error' | 'skip' = 'error'): Promise<RunJournal> =>
  RunJournal.open({ outputs: [{ path, ifExists }], work: { what: 'test' }, markBytes: MIB })

const markOf = (journal: RunJournal): Mark => journal.markAfter(MIB, () => 'cursor')!

/** Whether a promise settles within 20 ms. */
const settled = (promise: Promise<unknown>): Promise<boolean> =>
  Promise.race([promise.then(() => true), new Promise<boolean>(resolve => setTimeout(resolve, 20, false))])

describe('the journal of a run', () => {
  it("returns an output's tail to the next run and removes it from the file", async () => {
    const path = fresh()
    const killed = await open(path)
    const first = (await openOutput(path, 'error', killed))!
    await first.write(utf8('begun, '))
    await first.mark(markOf(killed), () => ({ state: 7, tail: utf8('what comes next') }))
    await first.abandon()
    expect(await killed.end(true)).toBe('kept')
    expect(readFileSync(`${path}.part`, 'utf8')).toBe('begun, what comes next')

    const journal = await open(path)
    const file = (await openOutput(path, 'error', journal))!
    expect(file.resumedState).toBe(7)
    expect(Buffer.from(await file.resumedTail()).toString()).toBe('what comes next')
    await file.write(utf8('ended'))
    await file.commit()
    await journal.commit(undefined)
    expect(readFileSync(path, 'utf8')).toBe('begun, ended')
  })

  it('resumes from the previous record when the tail of the last is incomplete', async () => {
    const path = fresh()
    const killed = await open(path)
    const first = (await openOutput(path, 'error', killed))!
    for (const [state, tail] of Object.entries(['ab', 'abc', 'abcdef'])) {
      await first.mark(markOf(killed), () => ({ state, tail: utf8(tail) }))
    }
    await first.abandon()
    await killed.end(true)
    truncateSync(`${path}.part`, 4)

    const journal = await open(path)
    const file = (await openOutput(path, 'error', journal))!
    expect(file.resumedState).toBe('1')
    expect(Buffer.from(await file.resumedTail()).toString()).toBe('abc')
    await file.abandon()
    await journal.end(false)
    expect(existsSync(`${path}.part`)).toBe(false)
  })

  it('blocks work more than 64 MiB beyond its newest record', async () => {
    const path = fresh()
    const journal = await open(path)
    const file = (await openOutput(path, 'error', journal))!
    expect(journal.roomFor(64 * MIB)).toBeUndefined()
    const one = journal.roomFor(65 * MIB)!
    const two = journal.roomFor(66 * MIB)!
    expect(await settled(one)).toBe(false)
    await file.mark(markOf(journal))
    expect(await settled(one)).toBe(true)
    expect(await settled(two)).toBe(false)
    await file.mark(markOf(journal))
    expect(await settled(two)).toBe(true)
    expect(journal.roomFor(66 * MIB)).toBeUndefined()
    await file.abandon()
    await journal.end(false)
  })

  it('lets many workers read further ahead, with rarer marks', async () => {
    const journal = await open(fresh())
    journal.allowReadAhead(40 * MIB)
    expect(journal.roomFor(144 * MIB)).toBeUndefined()
    expect(await settled(journal.roomFor(145 * MIB)!)).toBe(false)
    expect(journal.markAfter(10 * MIB, () => 0)).toBeUndefined()
    expect(journal.markAfter(MIB, () => 0)).toBeDefined()
    await journal.end(false)
  })

  it('does not wait for records when all outputs are kept', async () => {
    const path = fresh()
    const before = await open(path)
    await (await openOutput(path, 'error', before))!.commit()
    await before.commit(undefined)
    const journal = await open(path, 'skip')
    expect(journal.roomFor(1000 * MIB)).toBeUndefined()
    await journal.end(false)
    expect(existsSync(path)).toBe(true)
  })
})
