/**
 * Trains a model on a packed file and generates a text with it. Run it with:
 *   npx jiti examples/train-and-generate.ts corpus.pbin tokenizer.json checkpoints
 */
import { generate, train } from 'penstock-ml'

export async function trainAndGenerate(packed: string, tokenizer: string, folder: string, signal: AbortSignal) {
  const losses: number[] = []
  const { checkpoint } = await train({
    samples: { path: packed, sequence_length: 16, batch_size: 4, epochs: 'endless' },
    trainer: {
      tokenizer,
      model: { sequence_length: 16, layers: 1, heads: 2, width: 32 },
      batch_size: 4,
      steps: 6,
      log_every_steps: 2,
      checkpoint: { folder },
    },
    signal,
    onEvent: event => event.kind === 'step' && losses.push(event.loss),
  })
  let text = ''
  for await (const piece of generate(folder, { prompt: 'one', maxTokens: 20, temperature: 0.7, signal })) text += piece
  return { losses, checkpoint, text }
}

const [packed, tokenizer, folder] = process.argv.slice(2)
if (packed !== undefined && tokenizer !== undefined && folder !== undefined) {
  console.log(await trainAndGenerate(packed, tokenizer, folder, AbortSignal.timeout(60_000)))
}
