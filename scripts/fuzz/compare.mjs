/** Compares our ids and decoded texts with those of the Rust library. */
import { Tokenizer } from 'tokenizers'
import { createPackKernel } from '../../dist/tokenizer/pack-lines.js'
import { loadTokenizer } from '../../dist/tokenizer/tokenizer.js'
import { kernelModule } from '../../dist/workers/tokenizer/kernel-module.js'

const attempt = work => {
  try {
    return { value: work() }
  } catch (error) {
    return { error }
  }
}

/**
 * @param idLists further ids to decode
 * @returns `invalid`: the Rust library's message; `rejected`: our message; `difference`: the first one; else the numbers of `texts` compared and of `errors` in both
 */
export async function compare(json, texts, idLists = []) {
  const source = JSON.stringify(json)
  const rust = attempt(() => Tokenizer.fromString(source))
  const ours = attempt(() => loadTokenizer(source, { wasm: kernelModule() }))
  if (rust.error !== undefined) return { invalid: rust.error.message, isAccepted: ours.error === undefined }
  if (ours.error !== undefined) return { rejected: ours.error.message, code: ours.error.code }
  // Penstock ignores these sections, as Modalities does.
  rust.value.disableTruncation()
  rust.value.disablePadding()
  const judge = new Judge(rust.value, ours.value)
  const twin = attempt(() => loadTokenizer(source))
  let [compared, errors] = [0, 0]
  for (let at = 0; at < texts.length; at += BATCH) {
    const batch = texts.slice(at, at + BATCH)
    const { difference, count } = await judge.compareTexts(batch)
    if (difference !== undefined) return { difference }
    compared += count
    errors += batch.length - count
  }
  const inTypeScript = await new Judge(rust.value, twin.value).compareTexts(texts.slice(0, TWIN_TEXTS))
  if (inTypeScript.difference !== undefined) return { difference: { ...inTypeScript.difference, engine: 'TypeScript' } }
  const difference = await judge.compareDecoded(idLists.map(ids => ({ ids })))
  return difference === undefined ? { texts: compared, errors, engine: ours.value.engineInfo.why } : { difference }
}

/** Texts per call of the Rust library, and those compared without the kernel too. */
const [BATCH, TWIN_TEXTS] = [200, 100]

class Judge {
  constructor(rust, ours) {
    this.rust = rust
    this.ours = ours
  }

  /** @returns the first `difference`, and the `count` of texts that the Rust library encodes */
  async compareTexts(texts) {
    const encodings = await this.encodingsOf(texts)
    const cases = []
    for (const [at, text] of texts.entries()) {
      const { ids, error } = encodings[at]
      const found = attempt(() => [...this.ours.encode(text)])
      if (error !== undefined) {
        if (found.error === undefined) return { difference: { text, expected: error, found: found.value } }
      } else if (found.error !== undefined || found.value.join() !== ids.join()) {
        return { difference: { text, expected: ids, found: found.error?.message ?? found.value } }
      } else cases.push({ text, ids })
    }
    const difference = this.batchDifference(cases) ?? this.packedDifference(cases) ?? (await this.compareDecoded(cases))
    return { difference, count: cases.length }
  }

  /** One by one if a text of the batch is an error. */
  async encodingsOf(texts) {
    const encode = text =>
      this.rust.encode(text).then(
        encoding => ({ ids: encoding.getIds() }),
        error => ({ error: error.message }),
      )
    return this.rust.encodeBatch(texts).then(
      encodings => encodings.map(encoding => ({ ids: encoding.getIds() })),
      async () => {
        const results = []
        for (const text of texts) results.push(await encode(text))
        return results
      },
    )
  }

  /** Whether a batch has the same ids, now that words are cached. */
  batchDifference(cases) {
    const documents = cases.map(({ text }) => Buffer.from(text))
    const offsets = new Uint32Array(documents.length + 1)
    for (const [at, document] of documents.entries()) offsets[at + 1] = offsets[at] + document.length
    const { tokens, lengths } = this.ours.encodeBatch(Buffer.concat(documents), offsets)
    let start = 0
    for (const [at, { text, ids }] of cases.entries()) {
      const batch = [...tokens.subarray(start, start + lengths[at])]
      start += lengths[at]
      if (batch.join() !== ids.join()) return { text, expected: ids, batch }
    }
    return undefined
  }

  /** Whether lines of JSON are packed to the same ids; the kernel of `pack` is kept from one batch to the next. */
  packedDifference(cases) {
    this.packing ??= createPackKernel({ tokenizer: this.ours, field: 'text', width: 4 })
    const lines = Buffer.from(cases.map(({ text }) => `${JSON.stringify({ text })}\n`).join(''))
    const { tokens, lengths } = this.packing.pack(lines)
    let start = 0
    for (const [at, { text, ids }] of cases.entries()) {
      const packed = [...tokens.subarray(start, start + lengths[at])]
      start += lengths[at]
      if (packed.join() !== ids.join()) return { text, expected: ids, packed }
    }
    return undefined
  }

  async compareDecoded(cases) {
    for (const skipSpecialTokens of [false, true]) {
      const lists = cases.map(({ ids }) => ids)
      const decoded = await this.rust.decodeBatch(lists, skipSpecialTokens).catch(() => undefined)
      for (const [at, { text, ids }] of cases.entries()) {
        const expected = decoded?.[at] ?? (await this.rust.decode(ids, skipSpecialTokens).catch(() => undefined))
        if (expected === undefined) continue
        const decodedByUs = this.ours.decode(ids, { skipSpecialTokens })
        if (expected !== decodedByUs) return { text, ids, decoded: expected, decodedByUs, skipSpecialTokens }
      }
    }
    return undefined
  }
}
