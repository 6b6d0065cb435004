import { execFile } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { planDefinition } from '#src/cli/plan/definition'
import { planText } from '#src/cli/plan/text'
import { definitionOf } from '#src/pipelines/definition'
import { inFolder } from '../monitoring/fixtures.js'
import { slow, torchPython } from '../training/torch/fixtures.js'

const main = new URL('../../dist/cli/main.js', import.meta.url).pathname
const documents = 300
const jsonl = Array.from(
  { length: documents },
  (_, index) => `{"text":"document ${index} says ${'word '.repeat(index % 50)}"}\n`,
).join('')

/** A packed file of one document with one-byte tokens. */
function pbin(tokenCount: number): Uint8Array {
  const pickled = Buffer.from(`\x80\x04]K\x00J\0\0\0\0\x86a.`, 'latin1')
  pickled.writeInt32LE(tokenCount, 6)
  const file = Buffer.alloc(12 + tokenCount)
  file.writeBigUInt64LE(BigInt(tokenCount))
  file.writeUInt32LE(1, 8)
  return Buffer.concat([file, pickled])
}

const training = (folder: string, changes: object, samples: object = {}) =>
  definitionOf({
    name: 'train',
    stages: [
      { 'shuffle-samples': { path: join(folder, 'data.pbin'), sequence_length: 8, batch_size: 4, ...samples } },
      {
        'feed-trainer': {
          batch_size: 4,
          model: { vocab_size: 12, sequence_length: 8, layers: 1, heads: 2, width: 16 },
          ...changes,
        },
      },
    ],
  })

describe('a plan', () => {
  it('counts the records of a small input and writes no files', async () => {
    await inFolder(async folder => {
      writeFileSync(join(folder, 'a.jsonl'), jsonl)
      const stages = [
        { 'read-file': { path: join(folder, 'a.jsonl') } },
        'read-lines',
        { 'write-index': { path: join(folder, 'a.idx') } },
      ]
      const plan = await planDefinition(definitionOf({ name: 'index', stages }))
      expect(plan.problems).toEqual([])
      expect(plan.pipelines[0]!.estimate).toMatchObject({ documents, exact: true })
      expect(plan.pipelines[0]!.reads).toMatchObject([{ bytes: jsonl.length }])
      expect(readdirSync(folder)).toEqual(['a.jsonl'])
      expect(planText(plan)).toContain('300 documents')
    })
  })

  it('reports a missing input, an existing output and a faulty record', async () => {
    await inFolder(async folder => {
      const at = (name: string) => join(folder, name)
      writeFileSync(at('a.jsonl'), `${jsonl}{"text":\n`)
      writeFileSync(at('a.idx'), '')
      const pipelines = {
        missing: [{ 'read-file': { path: at('none.jsonl') } }, 'read-lines', { 'write-index': { path: at('b.idx') } }],
        exists: [{ 'read-file': { path: at('a.jsonl') } }, 'read-lines', { 'write-index': { path: at('a.idx') } }],
        faulty: [
          { 'read-file': { path: at('a.jsonl') } },
          'read-lines',
          'validate-json',
          { 'write-index': { path: at('c.idx') } },
        ],
      }
      const { problems } = await planDefinition(definitionOf({ pipelines }))
      expect(problems.map(({ severity, pipeline }) => `${pipeline} ${severity}`)).toEqual([
        'missing error',
        'exists error',
        'faulty error',
      ])
      expect(problems[2]!.message).toContain('JSON_INVALID')
    })
  })

  it('counts samples, steps and epochs, and measures a step', async () => {
    await inFolder(async folder => {
      writeFileSync(join(folder, 'data.pbin'), pbin(8 * 40 + 1))
      const plan = await planDefinition(training(folder, { epochs: 3 }, { epochs: 3 }))
      expect(plan.pipelines[0]!.estimate).toMatchObject({ tokens: 321, samples: 40, steps: 30, epochs: 3, exact: true })
      expect(plan.pipelines[0]!.estimate.seconds).toBeGreaterThan(0)
      expect(plan.problems.map(problem => problem.severity)).toEqual(['warning'])
    })
  })

  it.each([
    ['too few tokens', 8, {}, {}, 'DATA_TOO_SMALL'],
    ['too few samples for a batch', 8 * 3 + 1, { steps: 5 }, {}, 'fewer than one batch'],
    ['too few epochs', 8 * 40 + 1, { steps: 50 }, { epochs: 1 }, 'after 10 of 50 steps'],
    ['uneven batches', 8 * 42 + 1, { steps: 5 }, {}, '2 of 42 samples'],
    [
      'too little held-out data',
      8 * 40 + 1,
      { steps: 5, held_out: { path: 'data.pbin', from: 0.95 }, evaluation: {} },
      { to: 0.95 },
      'the held-out part has 2 samples',
    ],
    [
      'held-out data that is trained on',
      8 * 40 + 1,
      { steps: 5, held_out: { path: 'data.pbin', from: 0.75 }, evaluation: {} },
      {},
      'overlaps the training data',
    ],
    ['different sequence lengths', 8 * 40 + 1, { steps: 5 }, { sequence_length: 16 }, '8 in the model'],
  ])('warns of %s', async (_, tokens, changes, samples, message) => {
    await inFolder(async folder => {
      writeFileSync(join(folder, 'data.pbin'), pbin(tokens))
      const inFile = 'held_out' in changes ? { held_out: { ...changes.held_out, path: join(folder, 'data.pbin') } } : {}
      const { problems } = await planDefinition(training(folder, { ...changes, ...inFile }, samples))
      expect(problems.map(problem => problem.message).join('\n')).toContain(message)
    })
  })

  it('still counts samples and steps if the engine fails to start', async () => {
    await inFolder(async folder => {
      writeFileSync(join(folder, 'data.pbin'), pbin(8 * 40 + 1))
      const torch = { engine: 'torch', torch: { python: join(folder, 'none') } }
      const plan = await planDefinition(training(folder, { steps: 5, checkpoint: { folder }, ...torch }))
      expect(plan.pipelines[0]!.estimate).toMatchObject({ samples: 40, steps: 5, exact: true })
      expect(plan.pipelines[0]!.estimate.parameters).toBeGreaterThan(0)
      expect(plan.problems.map(({ message }) => message).join()).toMatch(/time and memory are unknown.*PEER_MISSING/)
    })
  })

  it.skipIf(torchPython === undefined)(
    'measures a step of the torch engine and the memory of all ranks',
    async () => {
      await inFolder(async folder => {
        writeFileSync(join(folder, 'data.pbin'), pbin(8 * 40 + 1))
        const torch = { engine: 'torch', torch: { nproc: 2, device: 'cpu' } }
        const plan = await planDefinition(training(folder, { steps: 5, checkpoint: { folder }, ...torch }))
        expect(plan.problems).toEqual([])
        const { seconds, memoryBytes } = plan.pipelines[0]!.estimate
        expect(seconds).toBeGreaterThan(0)
        // Each of the two processes has loaded torch.
        expect(memoryBytes).toBeGreaterThan(2 * 200e6)
      })
    },
    slow,
  )

  it('exits with code 1 on the command line if there is an error', async () => {
    await inFolder(async folder => {
      const file = join(folder, 'plan.yaml')
      writeFileSync(file, 'stages: [{ read-file: { path: none } }, read-lines, { write-index: { path: none.idx } }]')
      const failure = await promisify(execFile)(process.execPath, [main, 'plan', file]).catch(error => error)
      expect(failure.code).toBe(1)
      expect(failure.stdout).toContain('error: pipeline: none does not exist')
    })
  })
})
