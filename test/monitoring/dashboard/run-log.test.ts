import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { findRunLogs } from '#src/monitoring/dashboard/run-log'
import { inFolder } from '../fixtures.js'

it('finds the runs of a folder, also in subfolders', async () => {
  await inFolder(async folder => {
    const log = (...names: string[]): string => {
      mkdirSync(join(folder, ...names), { recursive: true })
      writeFileSync(join(folder, ...names, 'log.jsonl'), '')
      return join(folder, ...names, 'log.jsonl')
    }
    const logs = [log('a'), log('group', 'b'), log('group', 'c')]
    mkdirSync(join(folder, 'empty'))
    writeFileSync(join(folder, 'notes.txt'), '')
    expect(await findRunLogs(folder)).toEqual(logs)
    expect(await findRunLogs(join(folder, 'a'))).toEqual([logs[0]])
    expect(await findRunLogs(logs[1]!)).toEqual([logs[1]])
    await expect(findRunLogs(join(folder, 'empty'))).rejects.toMatchObject({ code: 'FILE_MISSING' })
    await expect(findRunLogs(join(folder, 'none'))).rejects.toMatchObject({ code: 'FILE_MISSING' })
  })
})
