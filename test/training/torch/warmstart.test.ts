// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolations of configurations
/** `penstock warmstart` with other numbers of ranks and micro batches: the losses of an uninterrupted run. */
import { mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { uniformGenerator } from '#src/training/weights'
import { penstock } from '../../cli/support.js'
import { temporaryFolder } from '../../stages/support.js'
import { largestDifference, slow, torchPython } from './fixtures.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)

const SEQUENCE_LENGTH = 16
const SAMPLES_OF_STEP = 4
const STEPS = 16

interface World {
  readonly ranks: number
  readonly microBatch: number
  readonly accumulation: number
}

/** Different layouts of the same step of four samples. */
const worlds: readonly World[] = [
  { ranks: 1, microBatch: 4, accumulation: 1 },
  { ranks: 2, microBatch: 2, accumulation: 1 },
  { ranks: 4, microBatch: 1, accumulation: 1 },
  { ranks: 1, microBatch: 2, accumulation: 2 },
]

const template = readFileSync(new URL('../../modalities/training.yaml', import.meta.url), 'utf8')

const reference = (name: string): string => `{ instance_key: ${name}, pass_type: BY_REFERENCE }`

const conversion = (variant: string, options: string): string =>
  `{ component_key: number_conversion, variant_key: ${variant}, config: { ${options} } }`

/** The template for a layout, with a step-dependent schedule and a checkpoint every four steps. */
function inWorld({ ranks, microBatch, accumulation }: World): string {
  return template
    .replaceAll('dp_degree: 4', `dp_degree: ${ranks}`)
    .replace('num_replicas: 4', `num_replicas: ${ranks}`)
    .replaceAll('micro_batch_size: 2', `micro_batch_size: ${microBatch}`)
    .replaceAll('batch_size: 2', `batch_size: ${microBatch}`)
    .replaceAll('gradient_accumulation_steps: 1', `gradient_accumulation_steps: ${accumulation}`)
    .replace('num_target_steps: 12', `num_target_steps: ${STEPS}`)
    .replace('log_interval_in_steps: 2', 'log_interval_in_steps: 1')
    .replace('evaluation_interval_in_steps: 8', 'evaluation_interval_in_steps: 4')
    .replace(/eval_dataloaders:.*?\n\n/s, 'eval_dataloaders: []\n\n')
    .replace('config: { k: 2 }', 'config: { k: -1 }')
    .concat(`
scheduler:
  component_key: scheduler
  variant_key: onecycle_lr
  config:
    optimizer: ${reference('optimizer')}
    max_lr: 0.01
    div_factor: 10
    final_div_factor: 1
    total_steps: ${STEPS}
    pct_start: 0.3
    anneal_strategy: cos
    last_epoch: \${settings.training_progress.last_step}
`)
}

const startIn = (world: World): string =>
  inWorld(world)
    .replace(
      /training_progress:.*?\n\n/s,
      'training_progress: { global_num_seen_tokens: 0, num_seen_steps: 0, num_seen_samples: 0, last_step: -1 }\n\n',
    )
    .replace(
      /\napp_state:.*?\ngradient_clipper/s,
      `
app_state:
  component_key: app_state
  variant_key: raw
  config: { model: ${reference('model')}, optimizer: ${reference('optimizer')} }

gradient_clipper`,
    )

/** Derives all numbers from the checkpoint's name, as in Modalities' warmstart tutorial. */
const warmstartIn = (world: World): string =>
  inWorld(world)
    .replace(/^settings:\n/m, 'settings:\n  warmstart_checkpoint_paths: ${warmstart_env:checkpoint_paths}\n')
    .replace(/checkpoint: \/old.*/, 'checkpoint: ${settings.warmstart_checkpoint_paths.checkpoint_folder_path}')
    .replace(
      'num_seen_samples: 32\n    last_step: 3',
      `num_seen_samples: ${conversion(
        'num_samples_from_num_tokens',
        `num_tokens: "\${settings.training_progress.global_num_seen_tokens}", sequence_length: ${SEQUENCE_LENGTH}`,
      )}
    last_step: ${conversion('last_step_from_checkpoint_path', 'checkpoint_path: "${settings.paths.checkpoint}"')}`,
    )

interface Run {
  readonly checkpoints: string
  readonly steps: readonly { readonly step: number; readonly loss: number; readonly gradientNorm: number }[]
  readonly consumedTokens: number
}

async function train(command: 'run' | 'warmstart', name: string, ranks: number, flags: string[]): Promise<Run> {
  const before = new Set(readdirSync(at('experiments')))
  const engine = ['--engine', 'torch', '--nproc', String(ranks), '--device', 'cpu', '--json']
  const files = ['--config_file_path', at(name), '--experiments_root_path', 'experiments']
  const { code, err } = await penstock([command, ...files, ...flags, ...engine], folder)
  expect(code, err).toBe(0)
  const events = err.split('\n').flatMap(line => (line.includes('"event":{') ? [JSON.parse(line).event] : []))
  const experiment = readdirSync(at('experiments')).find(found => !before.has(found))!
  const steps = events.filter(({ kind }) => kind === 'step')
  const { consumedTokens } = events.find(({ kind }) => kind === 'end')
  return { checkpoints: at(`experiments/${experiment}/checkpoints`), steps, consumedTokens }
}

/** last_checkpoint_info.json as of the checkpoint after `step`. */
function infoAfter(step: number, checkpoints: string): string {
  const name = readdirSync(checkpoints).find(found => found.includes(`-seen_steps_${step}-`))!
  const file = at(`info-${step}.json`)
  writeFileSync(file, JSON.stringify({ checkpoint_folder_path: join(checkpoints, name) }))
  return file
}

const cursorAfter = (step: number, checkpoints: string) => {
  const name = `step-${String(step).padStart(6, '0')}`
  return JSON.parse(readFileSync(join(realpathSync(join(checkpoints, name)), 'state.json'), 'utf8')).cursor
}

describe.skipIf(torchPython === undefined)('a warmstart', { timeout: slow }, () => {
  beforeAll(() => {
    mkdirSync(at('experiments'))
    // All samples differ, so a wrong sample changes the loss of its step.
    const draw = uniformGenerator('samples')
    const tokens = Uint8Array.from({ length: 4000 }, () => Math.floor(draw() * 32))
    const header = encodePbinHeader({ dataBytes: tokens.length, tokenBytes: 1 })
    writeFileSync(at('train.pbin'), Buffer.concat([header, tokens, writePairList([[0, tokens.length]])]))
  })

  it('continues with other numbers of ranks and micro batches, with the losses of an uninterrupted run', async () => {
    const [first, ...others] = worlds
    writeFileSync(at('start.yaml'), startIn(first!))
    const undisturbed = await train('run', 'start.yaml', first!.ranks, ['--experiment_id', 'start'])
    expect(undisturbed.steps.map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, index) => index + 1))
    expect(undisturbed.steps.at(-1)!.loss).toBeLessThan(undisturbed.steps[0]!.loss - 0.1)

    let before = undisturbed
    for (const [index, world] of others.entries()) {
      const seen = 4 * (index + 1)
      const name = `on-${world.ranks}-ranks-after-${seen}.yaml`
      writeFileSync(at(name), warmstartIn(world))
      const info = infoAfter(seen, before.checkpoints)
      const resumed = await train('warmstart', name, world.ranks, ['--last_checkpoint_info_file_path', info])
      const expected = undisturbed.steps.slice(seen)
      expect(resumed.steps.map(({ step }) => step)).toEqual(expected.map(({ step }) => step))
      for (const key of ['loss', 'gradientNorm'] as const) {
        const [found, wanted] = [resumed, { steps: expected }].map(({ steps }) => steps.map(figures => figures[key]))
        expect(largestDifference(found!, wanted!), `${key}, ${name}`).toBeLessThan(1e-4)
      }
      expect(resumed.consumedTokens).toBe(STEPS * SAMPLES_OF_STEP * SEQUENCE_LENGTH)
      for (let step = seen; step <= STEPS; step += 4) {
        const cursor = cursorAfter(step, resumed.checkpoints)
        expect(cursor).toEqual(cursorAfter(step, undisturbed.checkpoints))
        expect(cursor.globalSamples).toBe(step * SAMPLES_OF_STEP)
      }
      before = resumed
    }
  })
})
