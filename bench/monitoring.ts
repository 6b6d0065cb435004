/**
 * Overhead of monitoring: the same short training without sinks, with the dashboard, and with ten pages that follow the
 * dashboard, interleaved. Prints the median step time of each, and the ratio. Needs a build: `npx jiti
 * bench/monitoring.ts`.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const PAGES = 10
const ROUNDS = 3
const STEPS = 120
/** Steps to leave out at the start, while caches fill. */
const WARM_UP = 20

const folder = mkdtempSync(join(tmpdir(), 'penstock-bench-'))
const definition = join(folder, 'train.yaml')
writeFileSync(join(folder, 'corpus.jsonl'), corpus())
writeFileSync(definition, trainingOf(folder))

const variants: readonly [name: string, flags: readonly string[], pages: number][] = [
  ['no sink', [], 0],
  ['the dashboard, no page', ['--dashboard'], 0],
  [`the dashboard, ${PAGES} pages`, ['--dashboard'], PAGES],
]

try {
  await train(['run', join(folder, 'pack.yaml')], 0)
  const times = new Map(variants.map(([name]) => [name, [] as number[]]))
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, flags, pages] of variants)
      times.get(name)!.push(...(await train(['train', definition, ...flags], pages)))
  }
  const base = median(times.get(variants[0]![0])!)
  const rows = variants.map(([name]) => {
    const stepMs = median(times.get(name)!)
    return { variant: name, stepMs: Number(stepMs.toFixed(2)), ratio: Number((stepMs / base).toFixed(3)) }
  })
  console.table(rows)
  console.log(JSON.stringify(rows))
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** Step times in milliseconds, without the warm-up. */
function train(args: readonly string[], pages: number): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args, '--json'], { stdio: ['ignore', 'ignore', 'pipe'] })
    const closing = new AbortController()
    let err = ''
    let isFollowed = false
    child.stderr.on('data', chunk => {
      err += chunk
      const address = /http:\/\/[\w.:[\]]+/.exec(err)?.[0]
      if (isFollowed || address === undefined) return
      isFollowed = true
      for (let page = 0; page < pages; page++) follow(address, closing.signal)
    })
    child.on('close', code => {
      closing.abort()
      if (code !== 0) reject(new Error(err))
      const found = [...err.matchAll(/"kind":"step".*?"stepMs":([\d.]+)/g)].map(match => Number(match[1]))
      resolve(found.slice(WARM_UP))
    })
  })
}

/** Sends the requests of an open page: runs, series, then the event stream. */
async function follow(address: string, signal: AbortSignal): Promise<void> {
  try {
    const { runs } = (await (await fetch(`${address}/api/runs`, { signal })).json()) as {
      runs: { info: { id: string } }[]
    }
    await fetch(`${address}/api/series?run=${runs[0]?.info.id}&metric=train/loss`, { signal })
    const live = await fetch(`${address}/api/live`, { signal })
    for await (const _ of live.body!) if (signal.aborted) return
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!
}

function corpus(): string {
  const texts = Array.from(
    { length: 2000 },
    (_, line) => `The people of line ${line % 97} read, write and count to ${line}.`,
  )
  return texts.map(text => `${JSON.stringify({ text })}\n`).join('')
}

function trainingOf(at: string): string {
  writeFileSync(
    join(at, 'pack.yaml'),
    `pipelines:
  tokenizer:
    - read-file: { path: ${at}/corpus.jsonl }
    - read-lines
    - validate-json
    - extract-text
    - train-tokenizer: { path: ${at}/tokenizer.json, vocab_size: 512 }
  pack:
    - read-file: { path: ${at}/corpus.jsonl }
    - read-lines
    - validate-json
    - extract-text
    - tokenize-batches: { tokenizer: ${at}/tokenizer.json }
    - write-pbin: { path: ${at}/corpus.pbin }
`,
  )
  return `stages:
  - shuffle-samples: { path: ${at}/corpus.pbin, sequence_length: 128, batch_size: 4, epochs: endless }
  - feed-trainer:
      tokenizer: ${at}/tokenizer.json
      model: { sequence_length: 128, layers: 2, heads: 4, width: 64 }
      batch_size: 4
      steps: ${STEPS}
      threads: 1
      log_every_steps: 1
`
}
