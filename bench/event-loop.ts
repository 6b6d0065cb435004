/**
 * Longest time for which each phase of a training blocks the event loop of the program that embeds it, with the quickstart's
 * models and corpus: the quickstart's own, one that one worker thread computes, and the quickstart's without workers for
 * comparison. Each runs in a separate process. Run `npm run quickstart` first, then `npx jiti bench/event-loop.ts`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'

const data = fileURLToPath(new URL('../data/quickstart/', import.meta.url))
const models = {
  quickstart: { sequence_length: 128, layers: 2, heads: 4, width: 128 },
  small: { sequence_length: 16, layers: 2, heads: 4, width: 32 },
} as const
const STEPS = 60
const ROUNDS = 3

type Name = keyof typeof models

const [name] = process.argv.slice(2) as [Name | undefined]
if (name === undefined) {
  if (!existsSync(join(data, 'sotu.pbin'))) throw new Error('run `npm run quickstart` first')
  const script = fileURLToPath(import.meta.url)
  for (const model of Object.keys(models)) {
    for (let round = 0; round < ROUNDS; round++) {
      spawnSync('npx', ['jiti', script, model], { stdio: 'inherit' })
    }
  }
} else {
  await measure(name)
}

async function measure(name: Name): Promise<void> {
  const { train } = await import('#src/pipelines/train')
  const folder = mkdtempSync(join(tmpdir(), 'penstock-bench-'))
  const delays = monitorEventLoopDelay({ resolution: 1 })
  delays.enable()
  const phases: [phase: string, ms: number][] = []
  const endPhase = (phase: string) => {
    phases.push([phase, delays.max / 1e6])
    delays.reset()
  }
  const path = join(data, 'sotu.pbin')
  const { sequence_length } = models[name]
  try {
    await train({
      samples: { path, sequence_length, batch_size: 8, epochs: 'endless', to: 0.95 },
      trainer: {
        tokenizer: join(data, 'tokenizer.json'),
        model: models[name],
        batch_size: 8,
        steps: STEPS,
        held_out: { path, from: 0.95 },
        evaluation: { every_steps: STEPS / 2, batches: 16 },
        checkpoint: { folder, every_steps: STEPS / 2 },
        sample_texts: { prompt: 'The people', every_steps: STEPS / 2 },
        log_every_steps: 1,
      },
      onEvent: ({ kind }) => endPhase(kind),
    })
    // A block at the end shows only once the timer of the monitor has run.
    await new Promise(resolve => setTimeout(resolve, 50))
    endPhase('close')
  } finally {
    rmSync(folder, { recursive: true })
  }
  const start = phases.shift()!
  const longest = new Map<string, number>()
  for (const [phase, ms] of phases) longest.set(phase, Math.max(ms, longest.get(phase) ?? 0))
  const columns = Object.fromEntries([['until the first step', start[1]] as const, ...longest])
  console.log(
    name,
    JSON.stringify(Object.fromEntries(Object.entries(columns).map(([key, ms]) => [key, Math.round(ms)]))),
  )
}
