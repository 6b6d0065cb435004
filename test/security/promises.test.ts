/** Guarantees of docs/security.md that no other test covers, checked by running commands as a user does. */
import { createHash } from 'node:crypto'
import { linkSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { openCheckpoint } from '#src/training/checkpoint'
import { penstock, ROOT } from '../cli/support.js'
import { makeCheckpoint } from '../integrity/fixtures.js'
import { byteTokenizer } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (...names: string[]): string => join(folder, ...names)

describe('an output', () => {
  const source = at('source.jsonl')
  const text = '{"text":"a line"}\n'
  beforeAll(() => {
    mkdirSync(at('inner'))
    symlinkSync(folder, at('linked'))
    writeFileSync(source, text)
    symlinkSync(source, at('symbolic.jsonl'))
    linkSync(source, at('hard.jsonl'))
  })

  it.each([
    ['its own name', 'source.jsonl'],
    ['a path with ..', 'inner/../source.jsonl'],
    ['a linked folder', 'linked/source.jsonl'],
    ['a symbolic link', 'symbolic.jsonl'],
    ['a hard link', 'hard.jsonl'],
  ])('cannot be the source by %s, even with override', async (_, name) => {
    const { code, err } = await penstock(['index', source, '-o', `${folder}/${name}`, '--if-exists', 'override'])
    expect([code, err]).toEqual([2, expect.stringContaining('[FILE_IS_SOURCE]')])
    expect(readFileSync(source, 'utf8')).toBe(text)
  })
})

describe('a checkpoint', () => {
  it.each(['../outside', '/etc/passwd', 'a/../../outside', 'a\\..\\outside', ''])(
    'cannot name a file outside of its folder, such as %j',
    async name => {
      const path = await makeCheckpoint(at(`checkpoints-${Buffer.from(name).toString('hex')}`))
      renameFile(join(path, 'state.json'), name)
      await expect(openCheckpoint(path)).rejects.toMatchObject({
        code: 'CHECKPOINT_INVALID',
        message: expect.stringContaining('a file outside its folder'),
      })
    },
  )
})

/** Renames a file in the state of a checkpoint and updates the digest. */
function renameFile(stateFile: string, name: string): void {
  const { digest: _, ...state } = JSON.parse(readFileSync(stateFile, 'utf8'))
  const { 'model.safetensors': model, ...others } = state.files
  const renamed = { ...state, files: { [name]: model, ...others } }
  const digest = createHash('sha256').update(JSON.stringify(renamed)).digest('hex')
  writeFileSync(stateFile, `${JSON.stringify({ ...renamed, digest }, null, 2)}\n`)
}

describe('secrets', () => {
  const canary = 'canary-5f0c2a77'
  const secretText = 'private-91be04d3'

  it('of the environment and of faulty documents do not appear in outputs, logs, checkpoints or messages', async () => {
    writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
    const lines = Array.from({ length: 40 }, (_, line) =>
      line % 10 === 3 ? `{"text": "${secretText}` : JSON.stringify({ text: `line ${line} of some more` }),
    )
    writeFileSync(at('corpus.jsonl'), `${lines.join('\n')}\n`)
    mkdirSync(at('run'))
    writeFileSync(at('train.yaml'), definition(at('run')))
    const outcome = await penstock(['run', at('train.yaml'), '--json'], folder, {
      PENSTOCK_CANARY: canary,
      WANDB_API_KEY: canary,
    })
    expect(outcome).toMatchObject({ code: 0 })
    const written = readdirSync(at('run'), { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
    expect(written.length).toBeGreaterThan(5)
    const everything = [
      Buffer.from(outcome.out + outcome.err),
      ...written.map(entry => readFileSync(join(entry.parentPath, entry.name))),
    ]
    for (const bytes of everything) {
      expect(bytes.includes(canary)).toBe(false)
      expect(bytes.includes(secretText)).toBe(false)
    }
  })

  const definition = (out: string): string => `
name: canary
monitoring: { folder: ${out}/log, jsonl: true, tensorboard: true, trace: true, wandb: { project: canary } }
pipelines:
  pack:
    - read-file: { path: ${at('corpus.jsonl')} }
    - read-lines: { faulty: skip }
    - validate-json: { faulty: skip }
    - extract-text
    - tokenize-batches: { tokenizer: ${at('tokenizer.json')}, end_of_document: <|endoftext|> }
    - write-pbin: { path: ${out}/corpus.pbin }
  train:
    - shuffle-samples: { path: ${out}/corpus.pbin, sequence_length: 8, batch_size: 2, epochs: endless }
    - feed-trainer:
        tokenizer: ${at('tokenizer.json')}
        model: { sequence_length: 8, layers: 1, heads: 1, width: 8 }
        batch_size: 2
        steps: 2
        backend: cpu
        checkpoint: { folder: "${out}/checkpoints", every_steps: 1 }
`
})

describe('the code', () => {
  it('never executes data', () => {
    const sources = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true }).filter(entry =>
      entry.name.endsWith('.ts'),
    )
    const found = sources.flatMap(entry => {
      const text = readFileSync(join(entry.parentPath, entry.name), 'utf8')
      return [...text.matchAll(/\beval\(|new Function\(|\bexecSync\(|\bexec\('/g)].map(
        match => `${entry.name}: ${match[0]}`,
      )
    })
    expect(sources.length).toBeGreaterThan(100)
    expect(found).toEqual([])
  })

  it('has no install scripts except one that .npmrc disables', () => {
    const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { hasInstallScript?: boolean; dev?: boolean; optional?: boolean; resolved?: string }>
    }
    const withScripts = Object.entries(packages).filter(([, { hasInstallScript, dev }]) => hasInstallScript && !dev)
    expect(withScripts.map(([name, { optional }]) => [name, optional])).toEqual([
      ['node_modules/msgpackr-extract', true],
    ])
    expect(readFileSync(join(ROOT, '.npmrc'), 'utf8')).toContain('ignore-scripts=true')
  })
})
