/**
 * Keys and values of the tokens whose logits were computed last, so that generating a text computes each token once: the
 * work per token then grows only in the attention. Holds 2 x layers tensors until `clear`.
 */
import type { Tensor4D } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'

interface KeysAndValues {
  /** [1, key heads, tokens, head width] */
  readonly key: Tensor4D
  readonly value: Tensor4D
}

export class KeyValueCache {
  #ids: Int32Array = new Int32Array(0)
  readonly #layers: KeysAndValues[] = []

  /**
   * Announces the ids that follow. Clears the cache unless they continue the ids before by one.
   * @returns the number of ids whose keys and values are here: all but the last, or none
   */
  continueWith(ids: Int32Array): number {
    const known = this.#ids
    const continues = known.length > 0 && known.length === ids.length - 1 && known.every((id, at) => id === ids[at])
    if (!continues) this.clear()
    this.#ids = ids
    return continues ? known.length : 0
  }

  /** Adds those of new tokens to a layer; returns those of all tokens, which belong to the cache. */
  extend(layer: number, added: KeysAndValues): KeysAndValues {
    const before = this.#layers[layer]
    const join = (part: keyof KeysAndValues): Tensor4D =>
      tf.keep(before === undefined ? added[part].clone() : tf.concat([before[part], added[part]], 2))
    const all = { key: join('key'), value: join('value') }
    if (before !== undefined) tf.dispose([before.key, before.value])
    this.#layers[layer] = all
    return all
  }

  clear(): void {
    for (const { key, value } of this.#layers.splice(0)) tf.dispose([key, value])
    this.#ids = new Int32Array(0)
  }
}
