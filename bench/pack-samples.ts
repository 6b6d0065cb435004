/**
 * Packing of documents into rows: bins, fill and time next to OLMo-core's InstancePacker in the same run, then time and memory
 * of `penstock pack-samples` for a packed file of many documents. Needs a build:
 * `npx jiti bench/pack-samples.ts [documents] [python]`. The Python interpreter must import numpy and olmo_core (3.0.0);
 * without it, only Penstock is measured.
 */
import { spawnSync } from 'node:child_process'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodePbinHeader } from '#src/formats/pbin'
import { PairListPickler } from '#src/formats/pickle'
import { bijection } from '#src/sampling/bijection'
import { packBins } from '#src/sampling/bin-packing'
import { uniformGenerator } from '#src/training/weights'

const documents = Number(process.argv[2] ?? 1e6)
const python = process.argv[3]

const PACK = `
import json, sys, time
import numpy as np
from olmo_core.data.utils import InstancePacker
capacity, lengths = json.load(sys.stdin)
ends = np.cumsum(np.array(lengths, dtype=np.int64))
indices = np.stack((ends - lengths, ends), axis=1)
packer = InstancePacker(capacity)
started = time.perf_counter()
instances, indices, _ = packer.pack_documents(indices)
seconds = time.perf_counter() - started
found = (indices[:, 1] - indices[:, 0]).tolist()
json.dump({"seconds": seconds, "bins": [[found[item] for item in bin] for bin in instances]}, sys.stdout)
`

/** Log-normal lengths around 600 tokens, at most `capacity`. */
function textLengths(count: number, capacity: number): Uint32Array {
  const draw = uniformGenerator('lengths')
  const normal = () => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw())
  return Uint32Array.from({ length: count }, () => Math.min(capacity, Math.ceil(600 * Math.exp(normal()))))
}

/** Different lengths from 1 to `capacity`, in shuffled order. */
function distinctLengths(count: number, capacity: number): Uint32Array {
  const order = bijection(capacity, 1)
  return Uint32Array.from({ length: count }, (_, at) => order.at(at) + 1)
}

function binsOf(lengths: Uint32Array, capacity: number) {
  const started = performance.now()
  const { items, ends } = packBins(lengths, capacity)
  const seconds = (performance.now() - started) / 1000
  const bins = [...ends].map((end, bin) =>
    [...items.subarray(bin === 0 ? 0 : ends[bin - 1], end)].map(item => lengths[item]!),
  )
  return { seconds, bins }
}

function olmoBins(lengths: Uint32Array, capacity: number): ReturnType<typeof binsOf> | undefined {
  if (python === undefined) return undefined
  const input = JSON.stringify([capacity, [...lengths]])
  const { stdout, stderr, status } = spawnSync(python, ['-c', PACK], { input, encoding: 'utf8', maxBuffer: 1 << 30 })
  if (status !== 0) throw new Error(stderr)
  return JSON.parse(stdout)
}

const fill = (bins: readonly number[][], capacity: number, lengths: Uint32Array) =>
  `${((100 * lengths.reduce((sum, length) => sum + length, 0)) / (bins.length * capacity)).toFixed(3)} %`

const cases: readonly [string, Uint32Array, number][] = [
  ['10,000 different lengths, rows of 16,384', distinctLengths(10_000, 16_384), 16_384],
  ['65,536 log-normal lengths, rows of 2,048', textLengths(65_536, 2048), 2048],
  ['65,536 log-normal lengths, rows of 8,192', textLengths(65_536, 8192), 8192],
]
packBins(textLengths(65_536, 4096), 4096)
for (const [name, lengths, capacity] of cases) {
  const own = binsOf(lengths, capacity)
  const line = (who: string, { seconds, bins }: typeof own) =>
    console.log(
      `  ${who}: ${bins.length} rows, fill ${fill(bins, capacity, lengths)}, ${(1000 * seconds).toFixed(1)} ms`,
    )
  console.log(name)
  line('Penstock', own)
  const olmo = olmoBins(lengths, capacity)
  if (olmo === undefined) continue
  line('OLMo-core', olmo)
  console.log(`  same bins: ${JSON.stringify(own.bins) === JSON.stringify(olmo.bins)}`)
}

const folder = await mkdtemp(join(tmpdir(), 'penstock-bench-'))
try {
  // The tokens are a hole in the file: packing reads only the index.
  const lengths = textLengths(documents, 100_000)
  const path = join(folder, 'sparse.pbin')
  const file = await open(path, 'w')
  const dataBytes = 2 * lengths.reduce((sum, length) => sum + length, 0)
  await file.write(encodePbinHeader({ dataBytes, tokenBytes: 2 }))
  const pickler = new PairListPickler()
  let [position, offset] = [12 + dataBytes, 0]
  const write = async (bytes: Uint8Array) => {
    await file.write(bytes, 0, bytes.length, position)
    position += bytes.length
  }
  for (const [document, length] of lengths.entries()) {
    pickler.push(offset, 2 * length)
    offset += 2 * length
    if (document % 65_536 === 0) await write(pickler.take())
  }
  await write(pickler.finish())
  await file.close()
  const script = `
    const { pipeline } = await import('node:stream/promises')
    const { listDocuments, packSamples } = await import('#src/stages/index')
    const started = performance.now()
    const sink = packSamples({ path: process.argv[2], sequence_length: 2048 })
    await pipeline(listDocuments({ paths: [process.argv[1]] }), sink)
    const seconds = (performance.now() - started) / 1000
    const { counts } = sink.stats
    console.log(seconds.toFixed(1) + ' s, peak memory ' + Math.round(process.resourceUsage().maxRSS / 1024) + ' MB, ' + JSON.stringify(counts))
  `
  const root = new URL('..', import.meta.url)
  console.log(`pack-samples, ${documents} documents, rows of 2,049`)
  spawnSync(process.execPath, ['--input-type=module', '-e', script, path, join(folder, 'rows.pack')], {
    cwd: root,
    stdio: 'inherit',
  })
} finally {
  await rm(folder, { recursive: true })
}
