import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { PenstockError } from '#src/errors'
import { checkDefinition } from '#src/pipelines/check'
import { definitionOf } from '#src/pipelines/definition'
import { graphOf } from '#src/pipelines/graph'
import { readDefinition } from '#src/pipelines/read-definition'
import { checkMonitoring } from '#src/pipelines/sinks'
import { inFolder } from './fixtures.js'

const withMonitoring = (monitoring: string) =>
  readDefinition(`name: demo\nvariables: { out: made }\nstages: [read-file]\n${monitoring}`, 'demo.yaml')

function failure(monitoring: string): PenstockError {
  try {
    checkMonitoring(withMonitoring(monitoring), [])
  } catch (error) {
    if (error instanceof PenstockError) return error
  }
  throw new Error('expected an error')
}

describe('the monitoring key', () => {
  it('is optional', () => {
    expect(checkMonitoring(withMonitoring(''), [])).toEqual({ folder: 'runs/demo' })
  })

  it('supports variables, defaults, and enabling and disabling sinks', () => {
    const text = `monitoring:\n  folder: \${out}/run\n  jsonl: true\n  tensorboard:\n  trace: false\n  wandb: { mode: online }`
    expect(checkMonitoring(withMonitoring(text), [])).toEqual({
      folder: 'made/run',
      jsonl: {},
      tensorboard: { names: 'penstock' },
      wandb: { mode: 'online', names: 'penstock', project: 'penstock', upload_seconds: 60 },
    })
  })

  it.each([
    ['an unknown sink', 'monitoring:\n  wandbb: true', { line: 5, column: 3, path: 'monitoring.wandbb' }],
    [
      'an unknown option',
      'monitoring:\n  wandb:\n    projekt: x',
      { line: 6, column: 5, path: 'monitoring.wandb.projekt' },
    ],
    ['a wrong value', 'monitoring:\n  wandb: { mode: later }', { line: 5, column: 18, path: 'monitoring.wandb.mode' }],
    ['a list', 'monitoring: [jsonl]', { line: 4, column: 13, path: 'monitoring' }],
    ['a number for a sink', 'monitoring:\n  jsonl: 3', { line: 5, column: 10, path: 'monitoring.jsonl' }],
    ['a folder without a name', 'monitoring:\n  folder: ""', { line: 5, column: 11, path: 'monitoring.folder' }],
  ])('rejects %s, with its position', (_, monitoring, where) => {
    const error = failure(monitoring)
    expect(error.code).toBe('CONFIG_INVALID')
    expect(error.where).toMatchObject({ file: 'demo.yaml', ...where })
  })
})

describe('a log of a run', () => {
  const stages = (folder: string) => [
    { 'read-file': { path: join(folder, 'a.jsonl') } },
    'read-lines',
    { 'write-index': { path: join(folder, 'a.idx') } },
  ]

  it.each([
    ['an input, under another spelling', { jsonl: { path: 'FOLDER/./x/../a.jsonl' } }],
    ['an input, through a link', { trace: { path: 'FOLDER/link' } }],
    ['an output', { prometheus: { path: 'FOLDER/a.idx' } }],
    ['the file of another sink', { trace: { path: 'FOLDER/b' }, results: { path: 'FOLDER/./b' } }],
  ])('never overwrites %s', async (_, monitoring) => {
    await inFolder(async folder => {
      writeFileSync(join(folder, 'a.jsonl'), '{}\n')
      symlinkSync(join(folder, 'a.jsonl'), join(folder, 'link'))
      const placed = JSON.parse(JSON.stringify(monitoring).replaceAll('FOLDER', folder)) as object
      const definition = definitionOf({ stages: stages(folder), monitoring: placed })
      expect(() => checkMonitoring(definition, checkDefinition(definition))).toThrow(/would overwrite/)
    })
  })
})

describe('the graph of a pipeline', () => {
  it('has its nodes in the order of the run, each to the right of its inputs', () => {
    const [pipeline] = checkDefinition(
      readDefinition(
        `stages:
  - read-file: { path: a.jsonl }
  - read-lines
  - fork:
      - - write-index: { path: a.idx }
      - - extract-text
        - write-jsonl: { path: b.jsonl }`,
        'fork.yaml',
      ),
    )
    const { nodes, edges } = graphOf(pipeline!)
    expect(nodes.map(({ name, layer, row, detail }) => [name, layer, row, detail])).toEqual([
      ['read-file', 0, 0, 'a.jsonl'],
      ['read-lines', 1, 0, ''],
      ['write-index', 2, 0, 'a.idx'],
      ['extract-text', 2, 1, ''],
      ['write-jsonl', 3, 1, 'b.jsonl'],
    ])
    expect(edges).toEqual([
      { from: 0, to: 1, items: 'bytes' },
      { from: 1, to: 2, items: 'lines' },
      { from: 1, to: 3, items: 'lines' },
      { from: 3, to: 4, items: 'documents' },
    ])
  })
})
