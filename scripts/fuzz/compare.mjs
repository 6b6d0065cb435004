/** Compares our ids and decoded texts with those of the Rust library. */
import { Tokenizer } from 'tokenizers'
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
 * @returns `skipped`: why the file is not compared; `rejected`: our message; `difference`: the first one; else `texts` compared
 */
export async function compare(json, texts) {
  const source = JSON.stringify(json)
  const rust = attempt(() => Tokenizer.fromString(source))
  const ours = attempt(() => loadTokenizer(source, { wasm: kernelModule() }))
  if (rust.error !== undefined) return { skipped: 'the Rust library rejects the file' }
  if (ours.error !== undefined) return { rejected: ours.error.message, code: ours.error.code }
  let compared = 0
  for (const text of texts) {
    const expected = await rust.value.encode(text).then(
      encoding => ({ ids: encoding.getIds() }),
      error => ({ error: error.message }),
    )
    const found = attempt(() => [...ours.value.encode(text)])
    if (expected.error !== undefined) {
      if (found.error === undefined) return { difference: { text, expected: expected.error, found: found.value } }
      continue
    }
    if (found.error !== undefined || found.value.join() !== expected.ids.join()) {
      return { difference: { text, expected: expected.ids, found: found.error?.message ?? found.value } }
    }
    compared++
    for (const skipSpecialTokens of [false, true]) {
      const decoded = await rust.value.decode(expected.ids, skipSpecialTokens).catch(() => undefined)
      const decodedByUs = ours.value.decode(expected.ids, { skipSpecialTokens })
      if (decoded !== undefined && decoded !== decodedByUs) {
        return { difference: { text, decoded, decodedByUs, skipSpecialTokens, ids: expected.ids } }
      }
    }
  }
  return { texts: compared, engine: ours.value.engineInfo.why }
}
