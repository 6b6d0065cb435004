/** A Modalities training file for four ranks on the torch engine, unchanged except for the device. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { readTrainingPlan, requireSupported } from '#src/modalities/plans/training-plan'
import { onTorch, toPenstockTraining } from '#src/modalities/to-penstock'
import { feedTrainer } from '#src/stages/feed-trainer'
import { shuffleSamples } from '#src/stages/samples/shuffle-samples'
import type { TrainingEvent } from '#src/training/training-events'
import { hasReference, REFERENCE, start } from '../../cli/support.js'
import { temporaryFolder } from '../../stages/support.js'
import { slow, torchPython } from './fixtures.js'

const folder = temporaryFolder()
const TOKENS = 4000
const RANKS = 4
const RANKS_OF_TUTORIAL = 2

const shards = readFileSync(new URL('../../modalities/training.yaml', import.meta.url), 'utf8')

/** The same file with tensor parallelism over pairs of ranks. */
const pairs = shards
  .replace('data_parallel_shard_degree: -1', 'data_parallel_shard_degree: -1, tensor_parallel_degree: 2')
  .replace('dp_degree: 4', 'dp_degree: 2')
  .replace('seen_tokens_512-target_steps_12-target_tokens_1536', 'seen_tokens_256-target_steps_12-target_tokens_768')
  .replace(
    'variant_key: fsdp2_wrapped\n  config:\n    model: { instance_key: model_raw',
    'variant_key: fsdp2_wrapped\n  config:\n    model: { instance_key: split_model',
  )
  .concat(`
split_model:
  component_key: model
  variant_key: gpt2_tp
  config:
    model: { instance_key: model_raw, pass_type: BY_REFERENCE }
    device_mesh: { instance_key: device_mesh, pass_type: BY_REFERENCE }
`)

const files: readonly [string, string, number, object][] = [
  ['shards', shards, 4, { replicate_degree: 1, tensor_parallel: 1 }],
  ['shards of pairs', pairs, 2, { replicate_degree: 1, tensor_parallel: 2 }],
]

describe.skipIf(torchPython === undefined)('a Modalities training file', { timeout: slow }, () => {
  it.each(files)(
    'trains on its ranks to its last step with its own intervals: %s',
    async (name, text, shares, layout) => {
      const tokens = Uint8Array.from({ length: TOKENS }, (_, at) => (at * at) % 251)
      const header = encodePbinHeader({ dataBytes: TOKENS, tokenBytes: 1 })
      const packed = join(folder, 'train.pbin')
      writeFileSync(packed, Buffer.concat([header, tokens, writePairList([[0, TOKENS]])]))
      const plan = readTrainingPlan(text.replace('train.pbin', packed), {
        configFilePath: 'train.yaml',
        configFolderPath: '.',
        experimentId: name,
        experimentsRootPath: folder,
        world: { rank: 0, localRank: 0, worldSize: RANKS },
        readTokenCount: () => TOKENS,
      })
      requireSupported(plan)
      const training = onTorch(toPenstockTraining(plan), 'cpu')
      expect(training.feedTrainer.torch).toMatchObject({ nproc: RANKS, ...layout })
      const events: TrainingEvent[] = []
      const trainer = feedTrainer(training.feedTrainer).on('report', event => events.push(event))
      await pipeline(shuffleSamples(training.shuffleSamples), trainer)
      const { intervals, training_target: target, step_profile: profile } = plan.settings
      const { num_target_steps: steps } = target
      expect(events.at(-1)).toMatchObject({ kind: 'end', reason: 'completed', step: steps })
      const perStep =
        shares * profile.local_train_micro_batch_size * profile.gradient_accumulation_steps * profile.sequence_length
      const logged = events.flatMap(event => (event.kind === 'step' ? [event] : []))
      for (const event of logged) {
        expect(event.step % intervals.training_log_interval_in_steps === 0 || event.step === steps).toBe(true)
        expect(event.consumedTokens).toBe(event.step * perStep)
      }
      expect(logged.length).toBeGreaterThan(0)
      const saved = readdirSync(training.feedTrainer.checkpoint!.folder)
      expect(saved).toContain(`step-${String(steps).padStart(6, '0')}`)
    },
  )
})

const tutorial = join(REFERENCE, 'modalities', 'pretraining_config.yaml')

describe.skipIf(torchPython === undefined || !hasReference)(
  "Modalities' tutorial training file at full size",
  { timeout: 2 * slow },
  () => {
    it('trains on two CPU ranks with its own intervals and a smaller micro batch', async () => {
      const at = (name: string): string => join(folder, 'tutorial', name)
      mkdirSync(at('data/preprocessed'), { recursive: true })
      mkdirSync(at('experiments'))
      // 64 samples with 50,304 logits per token would take minutes per step.
      const smaller = readFileSync(tutorial, 'utf8').replace('micro_batch_size: 64', 'micro_batch_size: 1')
      writeFileSync(at('pretraining_config.yaml'), smaller)
      // The number of steps depends on the data: twelve with two ranks.
      const STEPS = 12
      const tokens = Uint16Array.from(
        { length: STEPS * RANKS_OF_TUTORIAL * 256 + 1 },
        (_, index) => (index * index) % 50_257,
      )
      const packed = [encodePbinHeader({ dataBytes: tokens.byteLength, tokenBytes: 2 }), Buffer.from(tokens.buffer)]
      const index = writePairList([[0, tokens.byteLength]])
      writeFileSync(at('data/preprocessed/fineweb_edu_num_docs_483606.pbin'), Buffer.concat([...packed, index]))
      const files = ['--config_file_path', 'pretraining_config.yaml', '--experiments_root_path', 'experiments']
      const engine = ['--engine', 'torch', '--nproc', String(RANKS_OF_TUTORIAL), '--device', 'cpu']
      const run = start(['run', ...files, '--experiment_id', 'full', ...engine, '--json'], at(''))
      const { code, err } = await run.outcome
      expect(code, err).toBe(0)
      const events = err.split('\n').flatMap(line => (line.includes('"event":{') ? [JSON.parse(line).event] : []))
      // Logs every fifth step and the last; a checkpoint every fiftieth and at the end.
      expect(events.filter(({ kind }) => kind === 'step').map(({ step }) => step)).toEqual([5, 10, STEPS])
      expect(events.filter(({ kind }) => kind === 'checkpoint').map(({ step }) => step)).toEqual([STEPS])
      expect(readdirSync(at('data/checkpoints')).join()).toMatch(/seen_steps_12-seen_tokens_6144-target_steps_12/)
    })
  },
)
