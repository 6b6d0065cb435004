import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { readLines, validateJson, writeLines } from 'penstock-ml/stages'
import { describe, expect, it } from 'vitest'
import { everyNth, fromRecords, runFile } from '../../examples/own-stages.js'
import { temporaryFolder } from '../stages/support.js'

const records = Array.from({ length: 10 }, (_, id) => ({ id }))
const jsonl = (kept: readonly object[]): string => kept.map(record => `${JSON.stringify(record)}\n`).join('')

describe('the custom stages of the examples', () => {
  it('work between built-in stages', async () => {
    const path = join(temporaryFolder(), 'out.jsonl')
    await pipeline(fromRecords(records), readLines(), everyNth({ n: 5 }), validateJson(), writeLines({ path }))
    expect(readFileSync(path, 'utf8')).toBe(jsonl([{ id: 4 }, { id: 9 }]))
  })

  it('run by name in a definition', async () => {
    const folder = temporaryFolder()
    const at = (name: string): string => join(folder, name)
    writeFileSync(at('in.jsonl'), jsonl(records))
    writeFileSync(
      at('definition.yaml'),
      `stages: [{ read-file: { path: ${at('in.jsonl')} } }, read-lines, { every-nth: { n: 3 } }, { write-index: { path: ${at('out.idx')} } }]`,
    )
    const written = await runFile(at('definition.yaml'), new AbortController().signal)
    expect(written).toMatchObject({ 'pipeline/every-nth': 10, 'pipeline/write-index': 3 })
    await expect(runFile(at('definition.yaml'), AbortSignal.abort())).rejects.toMatchObject({ code: 'STOPPED' })
  })
})
