/** Training while the text is tokenized: same order, resume behaviour and packed file as packing first. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { penstock, start } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const STEPS = 30
const training = (checkpoints: string) =>
  JSON.stringify({
    tokenizer: at('tokenizer.json'),
    model: { sequence_length: 16, layers: 1, heads: 2, width: 32 },
    batch_size: 4,
    steps: STEPS,
    checkpoint: { folder: at(checkpoints), every_steps: 4 },
    log_every_steps: 1,
  })

function live(name: string): string {
  const tokenize = JSON.stringify({ tokenizer: at('tokenizer.json'), end_of_document: END, workers: 1 })
  writeFileSync(
    at(`${name}.yaml`),
    `stages:
  - read-file: { path: ${at('data.jsonl')}, chunk_bytes: 4096 }
  - read-lines
  - validate-json
  - extract-text
  - tokenize-batches: ${tokenize}
  - fork:
      - - write-pbin: { path: ${at(`${name}.pbin`)}, if_exists: override }
      - - cut-samples: { sequence_length: 16, batch_size: 4 }
        - feed-trainer: ${training(name)}
`,
  )
  return at(`${name}.yaml`)
}

const lossesOf = (err: string): [number, number][] =>
  err
    .split('\n')
    .filter(line => line.includes('"kind":"step"'))
    .map(line => JSON.parse(line).event)
    .map(({ step, loss }) => [step, loss])

let packedFirst: [number, number][]

beforeAll(async () => {
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  const lines = Array.from({ length: 2000 }, (_, line) =>
    JSON.stringify({ text: `a line of text, number ${line % 17}` }),
  )
  writeFileSync(at('data.jsonl'), `${lines.join('\n')}\n`)
  const packing = [
    'pack',
    at('data.jsonl'),
    '-t',
    at('tokenizer.json'),
    '-o',
    at('data.pbin'),
    '--end-of-document',
    END,
  ]
  expect(await penstock(packing)).toMatchObject({ code: 0 })
  const samples = `{ path: ${at('data.pbin')}, sequence_length: 16, batch_size: 4, shuffle: none }`
  writeFileSync(
    at('packed-first.yaml'),
    `stages:\n  - shuffle-samples: ${samples}\n  - feed-trainer: ${training('packed-first')}\n`,
  )
  const { code, err } = await penstock(['train', at('packed-first.yaml'), '--json'])
  expect(code, err).toBe(0)
  packedFirst = lossesOf(err)
  expect(packedFirst).toHaveLength(STEPS)
})

it('gives the same losses and packed file as training after packing', async () => {
  const { code, err } = await penstock(['train', live('live'), '--json'])
  expect(code, err).toBe(0)
  expect(lossesOf(err)).toEqual(packedFirst)
  expect(readFileSync(at('live.pbin')).equals(readFileSync(at('data.pbin')))).toBe(true)
})

it('resumes after a kill with the losses and the file of an uninterrupted run', async () => {
  const run = start(['train', live('killed'), '--json'])
  await run.shows('"kind":"step","step":10,')
  run.kill('SIGKILL')
  await run.outcome
  const { code, err } = await penstock(['train', live('killed'), '--json'])
  expect(code, err).toBe(0)
  const losses = lossesOf(err)
  expect(losses.length).toBeLessThan(STEPS)
  expect(losses).toEqual(packedFirst.slice(-losses.length))
  expect(readFileSync(at('killed.pbin')).equals(readFileSync(at('data.pbin')))).toBe(true)
})
