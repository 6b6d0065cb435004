/**
 * Reads the vocabulary and the merges directly from the text of a tokenizer.json. JSON.parse would build an object of a
 * hundred thousand keys and as many arrays or strings, and Maps of these cost as much again. Only the plain form is read
 * here; anything else, including errors, goes through JSON.parse.
 */
import type { Merges } from '../engine/bpe.js'
import type { PackedVocabulary } from '../engine/byte-level.js'
import type { UnitVocabulary } from '../engine/vocabulary.js'
import type { KernelSource } from '../kernel/kernel-engine.js'
import { KernelLists } from '../kernel/lists.js'
import { type ModelLists, TypeScriptLists } from '../kernel/model-lists.js'
import { notPlain, PlainJson, unlessNotPlain } from '../kernel/plain-json.js'

/** The kernel's tables take up to nine times the size of the text and must stay below 2 GiB. Real files are far smaller. */
const MAX_KERNEL_BYTES = 1 << 27

export interface ModelText {
  readonly vocabulary: UnitVocabulary
  readonly merges: Merges
  /** The vocabulary as that of a byte-level model. */
  readonly words: () => PackedVocabulary
  /** The file with an empty vocabulary and no merges. */
  readonly rest: string
}

/**
 * @param text the file, UTF-8
 * @param kernel reads the two lists when it is given
 * @returns `undefined` if the model's vocabulary and merges are missing, not plain, or not in this order
 */
export function readModelText(text: Uint8Array, kernel: KernelSource | undefined): ModelText | undefined {
  const lists =
    kernel === undefined || text.length > MAX_KERNEL_BYTES ? new TypeScriptLists(text) : new KernelLists(text, kernel)
  return unlessNotPlain(() => new ModelReader(text, lists).read())
}

class ModelReader extends PlainJson {
  private readonly lists: ModelLists
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(text: Uint8Array, lists: ModelLists) {
    super(text)
    this.lists = lists
  }

  read(): ModelText | undefined {
    let found: ModelText | undefined
    this.eachMember(key => {
      if (key !== 'model') return this.skipValue()
      if (found !== undefined) notPlain()
      found = this.readModel()
    })
    return found
  }

  private readModel(): ModelText {
    let vocabulary: UnitVocabulary | undefined
    let merges: Merges | undefined
    let rest = ''
    let taken = 0
    const leaveOut = (start: number, instead: string): void => {
      rest += this.decoder.decode(this.text.subarray(taken, start)) + instead
      this.at = this.lists.end
      taken = this.at
    }
    this.eachMember(key => {
      const start = this.at
      if (key === 'vocab') {
        if (vocabulary !== undefined) notPlain()
        vocabulary = this.lists.vocabulary(start)
        leaveOut(start, '{}')
      } else if (key === 'merges') {
        if (vocabulary === undefined || merges !== undefined) notPlain()
        merges = this.lists.merges(start, vocabulary!)
        leaveOut(start, '[]')
      } else this.skipValue()
    })
    if (vocabulary === undefined || merges === undefined) notPlain()
    const words = (): PackedVocabulary => this.lists.words(vocabulary!)
    rest += this.decoder.decode(this.text.subarray(taken))
    return { vocabulary: vocabulary!, merges: merges!, words, rest }
  }
}
