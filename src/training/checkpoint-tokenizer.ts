/** The tokenizer inside a checkpoint: a copy of its file and of the files beside it that give special tokens and templates. */
import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { TokenizerReference } from '../formats/batches.js'

const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer.model'] as const
const SIDE_FILES = ['tokenizer_config.json', 'special_tokens_map.json', 'chat_template.jinja']
export const checkpointTokenizerNames: readonly string[] = [...TOKENIZER_FILES, ...SIDE_FILES]

/**
 * Copies a tokenizer into the folder of a checkpoint.
 * @param previous an earlier checkpoint of the run, which has a copy too
 * @returns names of the copied files; none if the tokenizer was removed or changed since it was recorded
 */
export async function copyTokenizer(
  folder: string,
  { path, sha256 }: TokenizerReference,
  previous: string | undefined,
): Promise<string[]> {
  const name = path.endsWith('.model') ? 'tokenizer.model' : 'tokenizer.json'
  for (const source of [path, ...(previous === undefined ? [] : [join(previous, name)])]) {
    const content = await readIfExists(source)
    if (content === undefined || createHash('sha256').update(content).digest('hex') !== sha256) continue
    await writeFile(join(folder, name), content)
    // Files beside a tokenizer of another name may belong to another one.
    const sides = basename(source) === name ? SIDE_FILES : []
    const copied = await Promise.all(
      sides.map(async side => {
        const found = await readIfExists(join(dirname(source), side))
        if (found !== undefined) await writeFile(join(folder, side), found)
        return found === undefined ? [] : [side]
      }),
    )
    return [name, ...copied.flat()]
  }
  return []
}

/** The tokenizer of a checkpoint: its own copy or, in those of earlier versions, the file that the training used. */
export function tokenizerPathOf({
  path,
  state,
}: {
  readonly path: string
  readonly state: { readonly files: object; readonly tokenizer?: TokenizerReference | undefined }
}): string | undefined {
  const name = TOKENIZER_FILES.find(file => file in state.files)
  return name === undefined ? state.tokenizer?.path : join(path, name)
}

async function readIfExists(path: string): Promise<Buffer | undefined> {
  return readFile(path).catch(() => undefined)
}
