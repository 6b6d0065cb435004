/** Detects a diverged training by its loss, compared with the loss ln(vocab_size) of a uniform guess. */

/** An untrained model starts near 1; a diverged one is far above. */
const MAX_RATIO = 3

export class DivergenceDetector {
  /** Loss of a uniform guess over the vocabulary. */
  readonly uniformLoss: number
  #diverged = false

  constructor(vocabSize: number) {
    this.uniformLoss = Math.log(vocabSize)
  }

  /** Whether the training diverges with this loss; true once, until the loss has recovered. */
  divergesWith(loss: number): boolean {
    const before = this.#diverged
    if (loss > MAX_RATIO * this.uniformLoss) this.#diverged = true
    else if (loss < this.uniformLoss) this.#diverged = false
    return this.#diverged && !before
  }
}
