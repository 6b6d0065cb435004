// Compares random tokenizers of every kind with the Rust library: ids and decoded texts, 20 texts each. Differences are
// minimized and printed. After a build:
//   node scripts/fuzz-tokenizers.mjs [--count 5000] [--seed 1] [--processes 2]
// Exit code 1 on any difference. A tokenizer is reproduced by `--seed N --count 1`.
import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { fuzzOne } from './fuzz/fuzz-one.mjs'

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '5000' },
    seed: { type: 'string', default: '1' },
    processes: { type: 'string', default: String(availableParallelism()) },
    /** Set in the processes that this one starts. */
    part: { type: 'string' },
  },
})
const [count, seed, processes] = [Number(values.count), Number(values.seed), Number(values.processes)]

async function fuzzPart(part) {
  for (let number = part; number < count; number += processes) {
    process.send({ number })
    process.send({ seed: seed + number, ...(await fuzzOne(seed + number)) })
  }
  process.disconnect()
}

/** Component type and reason, without the place and the pattern. */
const reasonOf = message =>
  message
    .replace('unsupported tokenizer.json: ', '')
    .replaceAll(/[\w.]+\[\d+\][\w.[\]]*|^[a-z_]+(?=: type)/g, 'PLACE')
    .replaceAll(/the pattern ".*" has (.*) at \d+$/gs, 'a pattern with $1')
    .slice(0, 120)

async function main() {
  const totals = { tokenizers: 0, texts: 0, invalid: 0, aborted: 0, differences: 0 }
  const [byKind, rejected, invalid, aborts] = [new Map(), new Map(), new Map(), new Map()]
  const add = (map, key) => map.set(key, (map.get(key) ?? 0) + 1)
  const report = result => {
    if (result.invalid !== undefined) {
      totals.invalid++
      if (result.isAccepted) add(invalid, result.invalid.replaceAll(/\d+/g, 'N').slice(0, 120))
    } else if (result.rejected !== undefined) add(rejected, reasonOf(result.rejected))
    else if (result.difference !== undefined) {
      totals.differences++
      process.stdout.write(
        `seed ${result.seed}: ${JSON.stringify(result.difference)}\n  ${JSON.stringify(result.json)}\n`,
      )
    } else {
      totals.tokenizers++
      totals.texts += result.texts
      add(byKind, `${result.kind}, ${result.engine}`)
    }
  }
  /** Runs every `processes`th tokenizer from `first` on, in a process that begins again where the Rust library aborted it. */
  const runPart = first =>
    new Promise(resolve => {
      const options = ['--part', first, '--count', count, '--seed', seed, '--processes', processes].map(String)
      const child = fork(fileURLToPath(import.meta.url), options, { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] })
      let running = first
      let panic = ''
      child.stderr.on('data', data => {
        if (panic.length < 4096) panic += data
      })
      child.on('message', message => {
        if (message.number === undefined) report(message)
        else running = message.number
      })
      child.on('close', (code, signal) => {
        if (code === 0) return resolve()
        totals.aborted++
        add(aborts, /panicked at .*\/(\S+:\d+):/.exec(panic)?.[1] ?? `${signal ?? code} without a message`)
        process.stdout.write(`seed ${seed + running}: the process ended with ${signal ?? code}\n`)
        resolve(running + processes < count ? runPart(running + processes) : undefined)
      })
    })
  await Promise.all(Array.from({ length: processes }, (_, part) => runPart(part)))
  process.stdout.write(`${JSON.stringify(totals)}\n`)
  for (const [kind, number] of [...byKind].sort()) process.stdout.write(`  ${kind}: ${number}\n`)
  for (const [reason, number] of [...rejected].sort()) process.stdout.write(`  rejected, ${reason}: ${number}\n`)
  for (const [reason, number] of [...invalid].sort())
    process.stdout.write(`  invalid, but accepted, ${reason}: ${number}\n`)
  for (const [place, number] of [...aborts].sort()) process.stdout.write(`  aborted at ${place}: ${number}\n`)
  process.exitCode = totals.differences > 0 ? 1 : 0
}

if (values.part === undefined) await main()
else await fuzzPart(Number(values.part))
