import { execFile } from 'node:child_process'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { clusterOf } from '#src/cli/plan/cluster'
import { planDefinition } from '#src/cli/plan/definition'
import type { Cluster } from '#src/cli/plan/model'
import { planText } from '#src/cli/plan/text'
import { type Definition, definitionOf } from '#src/pipelines/definition'
import { listDocuments } from '#src/stages/samples/list-documents'
import { packSamples } from '#src/stages/samples/pack-samples'
import { inFolder } from '../monitoring/fixtures.js'
import { slow, torchPython } from '../training/torch/fixtures.js'

const main = new URL('../../dist/cli/main.js', import.meta.url).pathname
const documents = 300
const jsonl = Array.from(
  { length: documents },
  (_, index) => `{"text":"document ${index} says ${'word '.repeat(index % 50)}"}\n`,
).join('')

/** A plan that measures steps for a short time, which does not change what it finds. */
const planned = (definition: Definition, cluster?: Cluster) =>
  planDefinition(definition, { cluster, trainingProbeMs: 50 })

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
  it('counts the rows of a .pack file, their padding and the dropped tokens', async () => {
    await inFolder(async folder => {
      const [long, short] = [join(folder, 'long.pbin'), join(folder, 'data.pbin')]
      writeFileSync(long, pbin(10))
      writeFileSync(short, pbin(6))
      const pack = join(folder, 'rows.pack')
      await pipeline(
        listDocuments({ paths: [short, long] }),
        packSamples({ path: pack, sequence_length: 8, long: 'drop' }),
      )
      const samples = { more_paths: [long], pack, batch_size: 1 }
      const plan = await planned(training(folder, {}, samples))
      expect(plan.problems.filter(({ severity }) => severity === 'error')).toEqual([])
      expect(plan.pipelines[0]!.estimate).toMatchObject({
        samples: 1,
        rows: { padding: expect.closeTo(1 / 3), dropped: 10 / 16 },
      })
      expect(planText(plan)).toContain('33.33 % padding, 62.50 % of the tokens are in documents that were dropped')
    })
  })

  it('counts the records of a small input and writes no files', async () => {
    await inFolder(async folder => {
      writeFileSync(join(folder, 'a.jsonl'), jsonl)
      const stages = [
        { 'read-file': { path: join(folder, 'a.jsonl') } },
        'read-lines',
        { 'write-index': { path: join(folder, 'a.idx') } },
      ]
      const plan = await planned(definitionOf({ name: 'index', stages }))
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
      const { problems } = await planned(definitionOf({ pipelines }))
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
      const plan = await planned(training(folder, { epochs: 3 }, { epochs: 3 }))
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
      const { problems } = await planned(training(folder, { ...changes, ...inFile }, samples))
      expect(problems.map(problem => problem.message).join('\n')).toContain(message)
    })
  })

  it('still counts samples and steps if the engine fails to start', async () => {
    await inFolder(async folder => {
      writeFileSync(join(folder, 'data.pbin'), pbin(8 * 40 + 1))
      const torch = { engine: 'torch', torch: { python: join(folder, 'none') } }
      const plan = await planned(training(folder, { steps: 5, checkpoint: { folder }, ...torch }))
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
        const plan = await planned(training(folder, { steps: 5, checkpoint: { folder }, ...torch }))
        expect(plan.problems).toEqual([])
        const { seconds, memoryBytes } = plan.pipelines[0]!.estimate
        expect(seconds).toBeGreaterThan(0)
        // Each of the two processes has loaded torch.
        expect(memoryBytes).toBeGreaterThan(2 * 200e6)
      })
    },
    slow,
  )

  describe('for GPUs that are elsewhere', () => {
    const llama8b = { vocab_size: 128_256, layers: 32, heads: 32, kv_heads: 8, width: 4096, ffn_width: 14_336 }
    const onGpus = (changes: object, gpus: number, card: string) =>
      inFolder(async folder => {
        writeFileSync(join(folder, 'data.pbin'), pbin(8192 * 4))
        const trained = { model: { ...llama8b, sequence_length: 8192 }, engine: 'torch', batch_size: 1, steps: 10 }
        const samples = { sequence_length: 8192, batch_size: 1, epochs: 'endless' }
        const plan = await planned(training(folder, { ...trained, ...changes }, samples), clusterOf(gpus, card))
        const errors = plan.problems.filter(({ severity }) => severity === 'error').map(({ message }) => message)
        return {
          cluster: plan.pipelines[0]!.estimate.cluster,
          seconds: plan.pipelines[0]!.estimate.seconds,
          errors,
          plan,
        }
      })

    it('states memory, FLOPs per token as torchtitan counts them, and time', async () => {
      const { cluster, seconds, errors, plan } = await onGpus({ accumulation_steps: 64 }, 64, 'h100-80')
      expect(errors).toEqual([])
      // 6 x (8,030,261,248 - 128,256 x 4,096) + 12 x 32 x 4,096 x 8,192
      expect(cluster).toMatchObject({ fits: true, flopsPerToken: 57_914_449_920, utilization: 0.4 })
      expect(cluster!.stepSeconds).toBeCloseTo((57_914_449_920 * 8192) / (0.4 * 989.5e12), 6)
      expect(seconds).toBeCloseTo(10 * cluster!.stepSeconds!, 6)
      expect(cluster!.memory.moments).toBe((8 * 8_030_261_248) / 64)
      expect(planText(plan)).toContain('on 64 x h100-80: 51.2 GB of 80.0 GB per GPU, fits')
    })

    it('names the changes that are enough if the memory is not', async () => {
      const checkpointing = await onGpus({ accumulation_steps: 8 }, 8, 'a100-40')
      expect(checkpointing.errors).toEqual([
        expect.stringContaining('activation_checkpointing: true would need 19.8 GB'),
      ])
      expect(checkpointing.cluster).toMatchObject({ fits: false })
      const rows = await onGpus(
        { batch_size: 8, accumulation_steps: 8, torch: { replicate_degree: 64 } },
        64,
        'a100-40',
      )
      expect(rows.errors.join()).toMatch(/checkpointing: (true|selective) and replicate_degree: 1 .* would need/)
      const impossible = await onGpus({}, 1, 'a100-40')
      expect(impossible.errors.join()).toContain('no layout of 1 GPUs fits')
    })

    it('rejects layouts and cards that do not exist', async () => {
      const { errors } = await onGpus({ torch: { replicate_degree: 3 } }, 64, 'h100-80')
      expect(errors.join()).toContain(
        'replicate_degree 3 x shard_degree 21 x tensor_parallel 1 is not the number of GPUs, 64',
      )
      expect(() => clusterOf(8, 'h1000')).toThrow('unknown GPU h1000; known are')
    })
  })

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

describe('the plan of a training on a mixture', () => {
  const mixed = (folder: string, mix: object, changes: object = {}) =>
    definitionOf({
      name: 'train',
      stages: [
        {
          'mix-samples': {
            sources: [
              { name: 'large', paths: [join(folder, 'large.pbin')], weight: 3 },
              { name: 'small', paths: [join(folder, 'small.pbin')], weight: 1, max_epochs: 4 },
            ],
            sequence_length: 8,
            batch_size: 4,
            ...mix,
          },
        },
        {
          'feed-trainer': {
            batch_size: 4,
            steps: 20,
            model: { vocab_size: 12, sequence_length: 8, layers: 1, heads: 2, width: 16 },
            ...changes,
          },
        },
      ],
    })
  const write = (folder: string): void => {
    writeFileSync(join(folder, 'large.pbin'), pbin(801))
    writeFileSync(join(folder, 'small.pbin'), pbin(81))
  }

  it('counts tokens, share and epochs of each source', async () => {
    await inFolder(async folder => {
      write(folder)
      const plan = await planned(mixed(folder, {}))
      expect(plan.problems.filter(({ severity }) => severity === 'error')).toEqual([])
      expect(plan.pipelines[0]!.estimate).toMatchObject({
        steps: 20,
        sources: [
          { name: 'large', tokens: 800, share: 0.75, epochs: 0.6 },
          { name: 'small', tokens: 80, share: 0.25, epochs: 2 },
        ],
      })
      expect(planText(plan)).toContain('source small: 80 tokens, 25.0 % of the run, 2.00 epochs')
    })
  })

  it.each<[string, object, object, RegExp]>([
    ['a source that would exceed max_epochs', {}, { steps: 50 }, /after 33 of 50 steps: source large has 100 samples/],
    ['another sequence_length', { sequence_length: 16 }, {}, /sequence_length differs/],
    ['a length in epochs', {}, { steps: undefined, epochs: 1 }, /steps or tokens/],
    [
      'held-out samples of a source',
      {},
      { evaluation: {}, held_out: { path: 'small.pbin', from: 0.5 } },
      /overlaps.* of mix-samples or held_out/,
    ],
  ])('reports %s', async (_, mix, changes, message) => {
    await inFolder(async folder => {
      write(folder)
      const { held_out: heldOut, ...rest } = changes as { held_out?: { path: string } }
      const training = heldOut ? { ...rest, held_out: { ...heldOut, path: join(folder, heldOut.path) } } : rest
      const { problems } = await planned(mixed(folder, mix, training))
      expect(problems.map(problem => problem.message).join('\n')).toMatch(message)
    })
  })
})
