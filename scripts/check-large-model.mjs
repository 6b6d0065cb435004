// Writes a model of 1.3 billion weights, exports it as shards of bfloat16, opens them with transformers, converts them back and
// generates from the result, each in its own process. Compares logits and every weight, and prints the peak memory of each process
// (VmHWM, Linux). Then takes a training step with an embedding of 151,936 x 4,096. Run manually: it needs 17 GB of memory, 14 GB
// of disk space and about 15 minutes of processor time, and the environments `peers` and `torch` of setup-python.mjs.
//
// node scripts/check-large-model.mjs [--folder FOLDER] [--layers 24]
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values: flags } = parseArgs({
  options: {
    folder: { type: 'string', default: tmpdir() },
    layers: { type: 'string', default: '24' },
  },
})
const near = path => fileURLToPath(new URL(path, import.meta.url))
const [peers, torch] = ['peers', 'torch'].map(kind =>
  execFileSync(process.execPath, [near('setup-python.mjs'), kind], { encoding: 'utf8' }).trim(),
)
const PENSTOCK = [process.execPath, near('../dist/cli/main.js')]
const INITIALIZE = [process.execPath, near('large-model/initialize.mjs')]
const COMPARE = near('large-model/compare.py')

const model = {
  vocab_size: 50304,
  sequence_length: 2048,
  layers: Number(flags.layers),
  heads: 16,
  width: 2048,
  ffn_width: 5504,
  tie_weights: true,
  qk_norm: true,
}
const largestTensor = 4 * model.vocab_size * model.width
/** Memory of Node.js without tensors: its code, and the copies that wait for the garbage collector. */
const NODE_BASE = 200e6
const limits = { node: 2 * largestTensor + NODE_BASE }

const scratch = mkdtempSync(join(flags.folder, 'penstock-large-'))
const at = name => join(scratch, name)
const rows = []
let failures = 0

function check(name, passed, figure) {
  console.log(`  ${passed ? 'ok  ' : 'FAIL'} ${name}: ${figure}`)
  if (!passed) failures++
}

/** Peak resident bytes of a process so far, with those of its descendants. */
function peaksOf(pid) {
  const peaks = []
  for (const name of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${name}/status`, 'utf8')
      const field = key => Number(new RegExp(`^${key}:\\s*(\\d+)`, 'm').exec(status)?.[1] ?? 0)
      peaks.push({ pid: Number(name), parent: field('PPid'), bytes: 1024 * field('VmHWM') })
    } catch {
      // The process has ended.
    }
  }
  const family = new Set([pid])
  for (let before = 0; before < family.size; ) {
    before = family.size
    for (const { pid: own, parent } of peaks) if (family.has(parent)) family.add(own)
  }
  return peaks.filter(({ pid: own }) => family.has(own))
}

/** Runs a command; returns its output and the peak memory of its largest process and of the first. */
async function run(name, [command, ...args], options = {}) {
  const started = performance.now()
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], ...options })
  let output = ''
  child.stdout.on('data', chunk => {
    output += chunk
  })
  const peaks = new Map()
  const timer = setInterval(() => {
    for (const { pid, bytes } of peaksOf(child.pid)) peaks.set(pid, Math.max(bytes, peaks.get(pid) ?? 0))
  }, 50)
  const code = await new Promise(resolve => child.on('close', resolve))
  clearInterval(timer)
  const [own, largest] = [peaks.get(child.pid) ?? 0, Math.max(0, ...peaks.values())]
  const seconds = (performance.now() - started) / 1000
  rows.push({ step: name, seconds: Math.round(seconds), 'first process, MB': mb(own), 'largest, MB': mb(largest) })
  console.log(`${name}: ${seconds.toFixed(0)} s, peak ${mb(own)} MB, largest process ${mb(largest)} MB`)
  if (code !== 0) throw new Error(`${name} ended with exit code ${code}\n${output}`)
  return { output, own, largest }
}

const mb = bytes => Math.round(bytes / 1e6)

async function runNode(name, command) {
  const result = await run(name, command)
  check('memory of Node.js', result.own <= limits.node, `${mb(result.own)} MB of ${mb(limits.node)} MB`)
  return result.output
}

const compare = async (name, python, ...args) => JSON.parse((await run(name, [python, COMPARE, ...args])).output)

async function roundTrip() {
  await runNode('initialize', [...INITIALIZE, at('checkpoint'), JSON.stringify(model)])
  const checkpoint = at('checkpoint/step-000000')
  await runNode('convert', [
    ...PENSTOCK,
    'convert',
    at('checkpoint'),
    at('hf'),
    '--dtype',
    'bf16',
    '--max-shard-size',
    '1',
  ])
  const shards = readdirSync(at('hf')).filter(name => name.endsWith('.safetensors'))
  const bytes = shards.map(name => statSync(at(`hf/${name}`)).size)
  const needed = Math.ceil(bytes.reduce((sum, size) => sum + size, 0) / 1e9)
  const isDivided = shards.length >= needed && Math.max(...bytes) < 1.001e9
  check('shards', isDivided, bytes.map(size => `${mb(size)} MB`).join(', '))
  await runNode('convert --back', [...PENSTOCK, 'convert', '--back', at('hf'), at('back')])
  const back = at('back/step-000000')
  const bits = await compare('compare weights', torch, 'bits', checkpoint, back)
  check('weights whose bits differ from the rounded ones', bits.different === 0, `${bits.different} of ${bits.count}`)
  check('weights whose bits differ from those of torch', bits.initial === 0, `${bits.initial} of ${bits.initialized}`)
  const unrounded = await compare('our logits before the export, f32', torch, 'ours', checkpoint, 'f32')
  rmSync(at('checkpoint'), { recursive: true })
  const [ours, theirs] = [{}, {}]
  for (const dtype of ['f32', 'bf16']) {
    ours[dtype] = await compare(`our logits, ${dtype}`, torch, 'ours', back, dtype)
    theirs[dtype] = await compare(`logits of transformers, ${dtype}`, peers, 'transformers', at('hf'), dtype)
  }
  const exact = difference(ours.f32, theirs.f32)
  check('difference from transformers in f32', exact < 1e-4, exact.toExponential(1))
  const rounding = difference(unrounded, theirs.f32)
  check('difference from the rounding of the weights', rounding < 5e-2, rounding.toExponential(1))
  // In bf16 both differ from f32 by the rounding of activations.
  const [own, other] = [difference(ours.bf16, ours.f32), difference(theirs.bf16, theirs.f32)]
  const figure = `${own.toExponential(1)}, transformers ${other.toExponential(1)}, largest logit ${Math.max(...ours.f32).toFixed(1)}`
  check('difference of bf16 from f32', own < 1.5 * other, figure)
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  const prompt = [
    '--prompt',
    'The state of',
    '--max-tokens',
    '8',
    '--temperature',
    '0',
    '--tokenizer',
    at('tokenizer.json'),
  ]
  await runNode('generate', [...PENSTOCK, 'generate', back, ...prompt, '--engine', 'torch'])
}

const difference = (left, right) => Math.max(...left.map((value, index) => Math.abs(value - right[index])))

/** A tokenizer whose tokens are the 256 bytes. */
function byteTokenizer() {
  const isPrinted = byte => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173)
  let others = 0
  const bytes = Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isPrinted(byte) ? byte : 256 + others++))
  return {
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: Object.fromEntries(bytes.map((char, id) => [char, id])), merges: [] },
  }
}

async function largeEmbedding() {
  const shape = {
    vocab_size: 151_936,
    sequence_length: 64,
    layers: 1,
    heads: 32,
    width: 4096,
    ffn_width: 1024,
    tie_weights: true,
  }
  writeFileSync(at('corpus.jsonl'), Array.from({ length: 200 }, (_, line) => `{"text":"document ${line}"}\n`).join(''))
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  await run('pack', [
    ...PENSTOCK,
    'pack',
    at('corpus.jsonl'),
    '--tokenizer',
    at('tokenizer.json'),
    '--end-of-document',
    'A',
    '--quiet',
  ])
  const stages = [
    { 'shuffle-samples': { path: at('corpus.pbin'), sequence_length: 64, batch_size: 1 } },
    { 'feed-trainer': { engine: 'torch', model: shape, batch_size: 1, steps: 1 } },
  ]
  writeFileSync(at('large-embedding.yaml'), JSON.stringify({ name: 'large-embedding', stages }))
  await runNode('train 151,936 x 4,096', [...PENSTOCK, 'train', at('large-embedding.yaml'), '--quiet'])
}

try {
  await roundTrip()
  await largeEmbedding()
  console.table(rows)
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
process.exitCode = failures === 0 ? 0 : 1
