/**
 * Kills the process group of a longer run at random moments, up to five times in a row, then lets a run complete: the
 * output must be byte-identical to that of an uninterrupted run.
 */
import { spawn } from 'node:child_process'
import { createReadStream, createWriteStream, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { cases } from './cases.mjs'
import { MAIN } from './inputs.mjs'
import { empty, runNode, snapshot } from './sweep.mjs'

const COPIES = 600
const MAX_KILLS = 5
const CASES = ['pack and index', 'pack .gz', 'shuffle', 'shuffle lines', 'merge', 'train a tokenizer']

/** @returns a row of the table */
export async function killAtRandom({ root, inputs, rounds }) {
  const big = join(root, 'big')
  const out = join(root, 'killed')
  mkdirSync(big)
  await makeBigInputs(inputs, big)
  const failures = []
  const uninterrupted = {}
  for (let round = 0; round < rounds; round++) {
    const name = CASES[round % CASES.length]
    const { args } = cases(big, out)[name]
    uninterrupted[name] ??= await runUninterrupted(args, out)
    const { files, ms } = uninterrupted[name]
    empty(out)
    const kills = 1 + (round % MAX_KILLS)
    for (let kill = 0; kill < kills; kill++) await runAndKill(args, Math.random() * ms)
    const { code, err } = await runNode(args, {}, 600_000)
    const isRefusal = err.includes('FILE_EXISTS')
    const isSame = JSON.stringify(snapshot(out)) === JSON.stringify(files)
    if (!isSame || (code !== 0 && !isRefusal))
      failures.push(`${name}, killed ${kills} times: ${err.trim().slice(0, 200)}`)
  }
  process.stderr.write(`kills at random: ${rounds} rounds, ${failures.length} failed\n`)
  return { name: 'kills at random', tried: rounds, failures }
}

/** The small inputs, repeated many times. */
async function makeBigInputs(inputs, big) {
  const repeated = async (name, to) => {
    for (let copy = 0; copy < COPIES; copy++) {
      await pipeline(createReadStream(join(inputs, name)), createWriteStream(join(big, to), { flags: 'a' }))
    }
  }
  // Concatenated gzip members form one valid file.
  await repeated('corpus.jsonl', 'corpus.jsonl')
  await repeated('corpus.jsonl.gz', 'corpus.jsonl.gz')
  await pipeline(createReadStream(join(inputs, 'tokenizer.json')), createWriteStream(join(big, 'tokenizer.json')))
  for (const name of ['one', 'two']) {
    const pack = ['pack', join(big, 'corpus.jsonl'), '-t', join(big, 'tokenizer.json'), '--quiet']
    await runNode([MAIN, ...pack, '-o', join(big, `${name}.pbin`)], {}, 600_000)
  }
}

async function runUninterrupted(args, out) {
  empty(out)
  const started = performance.now()
  const { code, err } = await runNode(args, {}, 600_000)
  if (code !== 0) throw new Error(`the uninterrupted run fails: ${err}`)
  return { files: snapshot(out), ms: performance.now() - started }
}

function runAndKill(args, ms) {
  return new Promise(resolve => {
    const child = spawn(process.execPath, args, { detached: true, stdio: 'ignore' })
    const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), ms)
    child.on('close', () => {
      clearTimeout(timer)
      resolve(undefined)
    })
  })
}
