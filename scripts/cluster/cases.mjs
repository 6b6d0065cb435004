/** Shared by the checks of schedulers: a corpus, what a run on one machine makes of it, and a status that is polled throughout. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { readPlan } from '../../dist/cluster/plan-file.js'
import { shardsStatus } from '../../dist/cluster/shard-status.js'

export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const WORDS = 'the corpus of a shard has words with many letters, and some 1234 numbers; Ünïcode too'.split(' ')

export const penstock = (args, options = {}) =>
  execFileSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options })

/** A corpus of about `megabytes` MB, its tokenizer, and a definition that packs it into `many.pbin` with one worker. */
export function makeCase(folder, megabytes, faultyLine) {
  mkdirSync(folder, { recursive: true })
  const at = name => join(folder, name)
  let state = 7
  const random = limit => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
  const lines = []
  for (let bytes = 0; bytes < megabytes * 1e6; bytes += lines.at(-1).length) {
    const text = Array.from({ length: 20 + random(600) }, () => `${WORDS[random(WORDS.length)]}${random(50)}`).join(' ')
    lines.push(`${JSON.stringify({ text })}\n`)
  }
  if (faultyLine) lines.splice(Math.floor(lines.length / 2), 0, '{"text":"a line that was cut\n')
  writeFileSync(at('corpus.jsonl'), lines.join(''))
  writeFileSync(at('sample.jsonl'), lines.slice(0, 200).join(''))
  penstock(['train-tokenizer', at('sample.jsonl'), '--vocab-size', '400', '-o', at('tokenizer.json'), '--quiet'])
  const stages = output => `
    - read-corpus: { sources: [${at('corpus.jsonl')}] }
    - tokenize-batches: { tokenizer: ${at('tokenizer.json')}, end_of_document: '<|endoftext|>', workers: 1 }
    - write-pbin: { path: ${at(output)} }\n`
  writeFileSync(at('pack.yaml'), `name: pack\nstages:${stages('many.pbin')}`)
  writeFileSync(at('single.yaml'), `name: pack\nstages:${stages('single.pbin')}`)
  return {
    definition: at('pack.yaml'),
    shards: at('many.pbin.shards'),
    output: at('many.pbin'),
    single: at('single.pbin'),
  }
}

/** The shuffle of a packed file in three shards of two passes, and the result of one machine. */
export function planShuffle(packed) {
  const [single, output] = ['single', 'shuffled'].map(name => packed.replace(/\.pbin$/, `-${name}.pbin`))
  const shuffle = ['shuffle', packed, '--seed', '3', '--quiet']
  penstock([...shuffle, '-o', single])
  penstock([...shuffle, '-o', output, '--shards', '3'])
  return { shards: `${output}.shards`, output, single }
}

export function assertSame({ output, single }) {
  assert(sha256(output) === sha256(single), `${output} differs from the file of a single run`)
  assert(sha256(`${output}.manifest`) === sha256(`${single}.manifest`), 'the manifests differ')
}

export const sha256 = file => createHash('sha256').update(readFileSync(file)).digest('hex')

export function assert(condition, message) {
  if (!condition) throw new Error(message)
}

/** Polls until `done` returns a value. */
export async function until(what, seconds, done) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await sleep(100)) {
    const value = await done()
    if (value) return value
  }
  throw new Error(`timed out after ${seconds} s: ${what}`)
}

/** Compares the status with the files of the folder, again and again, until `stop` is called. */
export async function watchStatus(folder) {
  const plan = await readPlan(folder)
  const doneFiles = () => readdirSync(join(folder, '000')).filter(name => name.endsWith('.done.json')).length
  let [polls, isStopped] = [0, false]
  const states = new Set()
  const loop = (async () => {
    for (let latest = 0; !isStopped; await sleep(100)) {
      const before = doneFiles()
      const { counts, active } = await shardsStatus(folder, plan)
      const after = doneFiles()
      const total = Object.values(counts).reduce((sum, count) => sum + count, 0)
      assert(total === plan.shards, `the status has ${total} of ${plan.shards} shards`)
      assert(counts.done >= before && counts.done <= after, `${counts.done} done, but ${before} to ${after} records`)
      assert(counts.done >= latest, 'a shard that was done is not any more')
      latest = counts.done
      for (const { state } of active) states.add(state)
      polls++
    }
    return { polls, states: [...states].sort() }
  })()
  loop.catch(() => {})
  return async () => {
    isStopped = true
    return loop
  }
}

/** The shard that runs now and is expected to run a little longer. */
export async function runningShard(folder, isWanted) {
  const { active } = await shardsStatus(folder, await readPlan(folder))
  for (const shard of active.filter(({ state }) => state === 'running')) {
    const file = join(folder, '000', `${String(shard.shard).padStart(5, '0')}.running.json`)
    if (!existsSync(file)) continue
    const { process: found } = JSON.parse(readFileSync(file, 'utf8'))
    if (await isWanted(found.pid, shard.shard)) return { ...shard, pid: found.pid }
  }
  return undefined
}

/** Parents of a process, nearest first. */
export function ancestorsOf(pid) {
  const found = []
  for (let at = pid; at > 1; ) {
    const status = readFileSync(`/proc/${at}/stat`, 'utf8')
    at = Number(status.slice(status.lastIndexOf(')') + 2).split(' ')[1])
    if (at > 1) found.push(at)
  }
  return found
}
