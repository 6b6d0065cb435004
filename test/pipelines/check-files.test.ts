/** No output replaces an input or has one among its temporary files. */
import { linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkDefinition } from '#src/pipelines/check'
import { definitionOf } from '#src/pipelines/definition'
import { runPipeline } from '#src/pipelines/run'
import { checkMonitoring } from '#src/pipelines/sinks'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
let cases = 0
/** Creates a new folder and returns paths in it. */
function place(): (name: string) => string {
  const own = join(folder, `case-${cases++}`)
  mkdirSync(own)
  return name => join(own, name)
}
const copy = (path: string, output: string, policy?: object) => [
  { 'read-file': { path } },
  { 'read-lines': policy ?? {} },
  { 'write-index': { path: output } },
]
const check = (stages: readonly object[], inputs: readonly string[] = []) =>
  checkDefinition(definitionOf({ name: 'check', stages }, 'check', inputs))
const code = (value: string) => expect.objectContaining({ code: value })

describe('an input', () => {
  it.each(['.part', '.scratch.part', '.journal', '.journal.part', '.lock', '.manifest', '.manifest.part'])(
    'cannot be named like the output with %s',
    ending => {
      const at = place()
      writeFileSync(at(`out.idx${ending}`), '{}\n')
      expect(() => check(copy(at(`out.idx${ending}`), at('out.idx')))).toThrow(code('FILE_IS_SOURCE'))
    },
  )

  it.each([
    ['hard', linkSync],
    ['symbolic', symlinkSync],
  ])('cannot be reached through a %s link under a temporary name', (_, link) => {
    const at = place()
    writeFileSync(at('in.jsonl'), '{}\n')
    link(at('in.jsonl'), at('out.idx.part'))
    expect(() => check(copy(at('in.jsonl'), at('out.idx')))).toThrow(code('FILE_IS_SOURCE'))
  })

  it('includes tokenizers, their companions, the definition and files of saved checkpoints', () => {
    const at = place()
    mkdirSync(at('tokenizer'))
    const packing = (output: string) => [
      { 'read-pbin': { path: at('in.pbin') } },
      { 'filter-documents': { min_tokens: 1 } },
      { 'write-pbin': { path: output } },
    ]
    const tokenizing = (output: string) => [
      { 'read-file': { path: at('in.jsonl') } },
      'read-lines',
      'extract-text',
      { 'tokenize-batches': { tokenizer: at('tokenizer') } },
      { 'write-pbin': { path: output } },
    ]
    for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
      expect(() => check(tokenizing(at(`tokenizer/${name}`)) as object[])).toThrow(code('FILE_IS_SOURCE'))
    }
    expect(() => check(packing(at('pack.yaml')), [at('pack.yaml')])).toThrow(code('FILE_IS_SOURCE'))
    expect(() => check(packing(at('checkpoints/step-000010/model.safetensors')))).toThrow(code('FILE_IS_SOURCE'))
    expect(() => check(packing(at('out.pbin')), [at('pack.yaml')])).not.toThrow()
  })
})

it('an output cannot be a temporary file of another one', () => {
  const at = place()
  const quarantine = { faulty: 'quarantine', quarantine: at('out.idx.part') }
  expect(() => check(copy(at('in.jsonl'), at('out.idx'), quarantine))).toThrow(code('CONFIG_INVALID'))
})

it('a log cannot be a temporary file of an output', () => {
  const at = place()
  const stages = copy(at('in.jsonl'), at('out.idx'))
  const definition = definitionOf({ name: 'check', stages, monitoring: { jsonl: { path: at('out.idx.journal') } } })
  expect(() => checkMonitoring(definition, checkDefinition(definition))).toThrow(code('FILE_IS_SOURCE'))
})

describe('an output that does not exist yet is recognized', () => {
  it('through a linked folder', () => {
    const at = place()
    mkdirSync(at('real'))
    symlinkSync(at('real'), at('linked'))
    const stages = copy(at('in.jsonl'), at('real/out.idx'), { faulty: 'quarantine', quarantine: at('linked/out.idx') })
    expect(() => check(stages)).toThrow(code('CONFIG_INVALID'))
    const definition = definitionOf({ stages: copy(at('in.jsonl'), at('real/out.idx')) }, 'check')
    const monitoring = { jsonl: { path: at('linked/out.idx') } }
    expect(() => checkMonitoring({ ...definition, monitoring }, checkDefinition(definition))).toThrow(
      code('FILE_IS_SOURCE'),
    )
  })

  it('through a dangling link', () => {
    const at = place()
    symlinkSync('out.idx', at('link.idx'))
    const stages = copy(at('in.jsonl'), at('out.idx'), { faulty: 'quarantine', quarantine: at('link.idx') })
    expect(() => check(stages)).toThrow(code('CONFIG_INVALID'))
    symlinkSync('loop', at('loop'))
    expect(check(copy(at('in.jsonl'), at('loop')))).toHaveLength(1)
  })
})

it('a file that has the name of a manifest and is none is kept', async () => {
  const at = place()
  writeFileSync(at('in.jsonl'), '{}\n')
  writeFileSync(at('out.idx.manifest'), 'keep')
  const [pipeline] = check(copy(at('in.jsonl'), at('out.idx')))
  await expect(runPipeline(pipeline!)).rejects.toMatchObject({
    code: 'FILE_EXISTS',
    where: { file: at('out.idx.manifest') },
  })
  expect(readFileSync(at('out.idx.manifest'), 'utf8')).toBe('keep')
})

describe('a quarantine file', () => {
  it.each([
    ['error', false],
    ['override', true],
  ])('that exists is replaced only if the outputs may be, with if_exists %s', async (policy, isReplaced) => {
    const at = place()
    writeFileSync(at('in.jsonl'), '{}\n'.repeat(3))
    writeFileSync(at('precious'), 'keep')
    const faults = { faulty: 'quarantine', quarantine: at('precious') }
    const stages = [
      { 'read-file': { path: at('in.jsonl') } },
      { 'read-lines': faults },
      { 'write-index': { path: at('out.idx'), if_exists: policy } },
    ]
    const [pipeline] = check(stages)
    if (isReplaced) await runPipeline(pipeline!)
    else await expect(runPipeline(pipeline!)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
    expect(readFileSync(at('precious'), 'utf8')).toBe(isReplaced ? '' : 'keep')
  })
})
