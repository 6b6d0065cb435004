import { execFileSync } from 'node:child_process'
import { Readable } from 'node:stream'
import { pipeline as nodePipeline } from 'node:stream/promises'
import { expect, it } from 'vitest'
import * as stages from '#src/stages/index'
import { extractText, pipeline, readLines, sink, source, validateJson } from '#src/stages/index'

const rejection = (running: Promise<unknown>): Promise<{ code: string; message: string }> =>
  running.then(
    () => expect.unreachable(),
    error => error,
  )

const nothing = <Item>() =>
  sink<Item>('nothing', async items => {
    for await (const _ of items);
  })

it('rejects stages that do not fit, in the pipeline of Node', async () => {
  const { code, message } = await rejection(
    nodePipeline(Readable.from([Buffer.from('{"text":"a"}\n')]), readLines(), extractText(), validateJson(), nothing()),
  )
  expect(code).toBe('STAGES_MISFIT')
  expect(message).toBe('validate-json accepts lines, found documents')
})

it('rejects strings in a stream of bytes, with a remedy', async () => {
  const { code, message } = await rejection(nodePipeline(Readable.from(['{"text":"a"}\n']), readLines(), nothing()))
  expect(code).toBe('STAGES_MISFIT')
  expect(message).toContain('Buffer.from')
})

it('checks the items of stages in the types of pipeline(), and accepts other streams', async () => {
  const bytes = () =>
    source<Uint8Array>('bytes', async function* () {
      yield Buffer.from('{"text":"a"}\n')
    })
  const texts: string[] = []
  const collect = sink<{ readonly bytes: Uint8Array }>('collect', async batches => {
    for await (const batch of batches) texts.push(Buffer.from(batch.bytes).toString())
  })
  await pipeline([bytes(), readLines(), validateJson(), extractText(), collect])
  await pipeline([
    Readable.from([Buffer.from('{"text":"b"}\n')]),
    readLines(),
    validateJson(),
    extractText(),
    nothing(),
  ])
  expect(texts).toEqual(['a'])
  // @ts-expect-error validateJson does not accept documents
  await rejection(pipeline([bytes(), readLines(), extractText(), validateJson(), nothing()]))
  // @ts-expect-error extractText does not accept bytes
  const misfit = await rejection(pipeline([bytes(), extractText(), nothing()]))
  expect(misfit.code).toBe('STAGES_MISFIT')
  const controller = new AbortController()
  controller.abort()
  const aborted = await rejection(pipeline([bytes(), readLines(), nothing()], { signal: controller.signal }))
  expect(aborted.code).toBe('ABORT_ERR')
})

const { sink: _sink, source: _source, transform: _transform, pipeline: _pipeline, ...factories } = stages

it.each(Object.entries(factories))('%s rejects options that are not options with OPTION_INVALID', (_, factory) => {
  for (const options of [null, 5, 'text', { bogus: 1 }]) {
    const create = () => (factory as (options: unknown) => unknown)(options)
    expect(create).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  }
})

it('can be loaded by CommonJS', () => {
  const script = `const { readLines } = require('penstock-ml/stages')
    const { loadTokenizer } = require('penstock-ml/tokenizer')
    console.log(typeof readLines, typeof loadTokenizer)`
  expect(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' })).toBe('function function\n')
})
