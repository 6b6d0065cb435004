/**
 * Trains inside an app: pipes samples of a packed file into the trainer and listens to its steps. Run it with:
 *   npx jiti examples/train.ts corpus.pbin tokenizer.json checkpoints
 */
import { pipeline } from 'node:stream/promises'
import { feedTrainer, shuffleSamples } from 'penstock-ml/stages'

interface TrainingStep {
  readonly kind: string
  readonly step: number
  readonly loss: number
}

/** Trains for six steps. Aborting the signal saves a checkpoint before stopping. */
export async function train(packed: string, tokenizer: string, folder: string, signal: AbortSignal) {
  const model = { sequence_length: 16, layers: 1, heads: 2, width: 32 }
  const losses: number[] = []

  const samples = shuffleSamples({ path: packed, sequence_length: 16, batch_size: 4, epochs: 'endless' })
  const trainer = feedTrainer({ tokenizer, model, batch_size: 4, steps: 6, log_every_steps: 2, checkpoint: { folder } })
  trainer.on('report', (event: TrainingStep) => {
    if (event.kind === 'step') losses.push(event.loss)
  })
  await pipeline(samples, trainer, { signal })

  return { losses, counts: trainer.stats.counts }
}

const [packed, tokenizer, folder] = process.argv.slice(2)
if (packed !== undefined && tokenizer !== undefined && folder !== undefined) {
  console.log(await train(packed, tokenizer, folder, AbortSignal.timeout(60_000)))
}
