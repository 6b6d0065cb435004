/** Makes a failing case smaller, as long as it still fails. */

/** @param fails whether a file and a text still differ */
export async function minimize(json, text, fails) {
  let [file, input] = [json, text]
  const smallerFile = async () => {
    const size = JSON.stringify(file).length
    for (const candidate of smallerFiles(file)) {
      if (JSON.stringify(candidate).length < size && (await fails(candidate, input))) return candidate
    }
    return undefined
  }
  const smallerText = async () => {
    for (const candidate of smallerTexts(input)) {
      if (candidate.length < input.length && (await fails(file, candidate))) return candidate
    }
    return undefined
  }
  for (let found = await smallerText(); found !== undefined; found = await smallerText()) input = found
  for (let found = await smallerFile(); found !== undefined; found = await smallerFile()) file = found
  for (let found = await smallerText(); found !== undefined; found = await smallerText()) input = found
  return { json: file, text: input }
}

const LISTS = {
  normalizer: 'normalizers',
  pre_tokenizer: 'pretokenizers',
  decoder: 'decoders',
  post_processor: 'processors',
}

function* smallerFiles(file) {
  for (const [part, list] of Object.entries(LISTS)) {
    if (file[part] === null) continue
    yield { ...file, [part]: null }
    const steps = file[part][list]
    for (const index of steps?.keys() ?? [])
      yield { ...file, [part]: { ...file[part], [list]: steps.toSpliced(index, 1) } }
    if (steps?.length === 1) yield { ...file, [part]: steps[0] }
  }
  for (const index of file.added_tokens.keys()) yield { ...file, added_tokens: file.added_tokens.toSpliced(index, 1) }
  for (const [index, token] of file.added_tokens.entries()) {
    for (const flag of ['single_word', 'lstrip', 'rstrip', 'normalized']) {
      if (token[flag]) yield { ...file, added_tokens: file.added_tokens.with(index, { ...token, [flag]: false }) }
    }
  }
  const { model } = file
  for (const flag of ['fuse_unk', 'byte_fallback', 'ignore_merges']) {
    if (model[flag]) yield { ...file, model: { ...model, [flag]: false } }
  }
  if (model.merges?.length > 0) {
    yield { ...file, model: { ...model, merges: [] } }
    for (const index of model.merges.keys())
      yield { ...file, model: { ...model, merges: model.merges.toSpliced(index, 1) } }
  }
  const entries = Array.isArray(model.vocab) ? model.vocab : Object.entries(model.vocab)
  const withEntries = kept => ({
    ...file,
    model: { ...model, vocab: Array.isArray(model.vocab) ? kept : Object.fromEntries(kept) },
  })
  for (let size = entries.length >> 1; size >= 1; size >>= 1) {
    for (let start = 0; start < entries.length; start += size) yield withEntries(entries.toSpliced(start, size))
    if (size === 1) break
  }
}

function* smallerTexts(text) {
  const characters = [...text]
  for (let size = characters.length >> 1; size >= 1; size >>= 1) {
    for (let start = 0; start < characters.length; start += size) yield characters.toSpliced(start, size).join('')
  }
}
