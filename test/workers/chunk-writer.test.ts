/** Bytes and checksums of outputs that are written by threads, in chunks that cross blocks, by workers that die, and with errors. */
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type OutputFile, openOutput } from '#src/files/output-file'
import { BlockChecksums, CHECKSUM_BLOCK_BYTES, type ChecksumState } from '#src/formats/checksum'
import { ChunkWriter } from '#src/workers/chunk-writer'
import { Heartbeat } from '#src/workers/heartbeat'
import { LOCK_UNCERTAIN, writeChunk } from '#src/workers/write-chunk'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const file = new URL('./sabotaged/writing-worker.mjs', import.meta.url)
const poolWith = (deaths: number) => {
  const memory = new SharedArrayBuffer(4)
  new Int32Array(memory)[0] = deaths
  return { file, workers: 2, setup: { deaths: memory, name: Math.random() } }
}

let outputs = 0
const open = async (): Promise<OutputFile> =>
  (await openOutput(join(folder, `out-${outputs++}`), 'error')) as OutputFile

/** Bytes in shared memory, different in every word. */
function shared(byteLength: number, seed: number): Uint8Array {
  const words = new Uint32Array(new SharedArrayBuffer((byteLength + 3) & ~3))
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, 0x9e3779b1) ^ seed
  return new Uint8Array(words.buffer, 0, byteLength)
}

function checksumsOf(bytes: readonly Uint8Array[], from?: ChecksumState): BlockChecksums {
  const checksums = new BlockChecksums(from)
  for (const piece of bytes) checksums.update(piece)
  return checksums
}

describe('an output that threads write', () => {
  it('has the bytes and checksums of one that is written here, wherever the pieces and blocks end', async () => {
    const out = await open()
    const before = shared(5001, 7)
    await out.write(before)
    const from = checksumsOf([before]).state()
    const pieces = [1, 4095, 3 << 20, CHECKSUM_BLOCK_BYTES, 0, 777, CHECKSUM_BLOCK_BYTES - 10, 9, 1 << 20].map(shared)
    const writer = new ChunkWriter(out, poolWith(0), from)
    const released = pieces.map(() => 0)
    for (const [index, piece] of pieces.entries()) await writer.append(piece, () => void released[index]!++)
    await writer.flush()
    const state = await writer.checksums()
    await writer.close()
    expect(released).toEqual(pieces.map(() => 1))
    expect(state).toEqual(checksumsOf([before, ...pieces]).state())
    await out.commit()
    expect(readFileSync(out.path).equals(Buffer.concat([before, ...pieces]))).toBe(true)
  })

  it('keeps the memory of few pieces, however small they are', async () => {
    const out = await open()
    const writer = new ChunkWriter(out, poolWith(0), checksumsOf([]).state())
    let kept = 0
    let most = 0
    for (let seed = 0; seed < 300; seed++) {
      most = Math.max(most, ++kept)
      await writer.append(shared(seed % 2, seed), () => void kept--)
    }
    await writer.flush()
    await writer.checksums()
    await writer.close()
    expect(kept).toBe(0)
    expect(most).toBeLessThan(120)
    await out.abandon()
  })

  it('gives the checksums at a mark while later bytes are written', async () => {
    const out = await open()
    const [first, second] = [shared(100_000, 1), shared(CHECKSUM_BLOCK_BYTES, 2)]
    const writer = new ChunkWriter(out, poolWith(0), checksumsOf([]).state())
    await writer.append(first, () => {})
    await writer.flush()
    const atMark = writer.checksums()
    await writer.append(second, () => {})
    await writer.flush()
    expect(await atMark).toEqual(checksumsOf([first]).state())
    expect(await writer.checksums()).toEqual(checksumsOf([first, second]).state())
    await writer.close()
    await out.abandon()
  })

  it('is the same when a worker dies, and does not reuse the memory that it was reading', async () => {
    const out = await open()
    const piece = shared(300_000, 3)
    let released = 0
    const writer = new ChunkWriter(out, poolWith(1), checksumsOf([]).state())
    await writer.append(piece, () => void released++)
    await writer.flush()
    expect(await writer.checksums()).toEqual(checksumsOf([piece]).state())
    await writer.close()
    await out.commit()
    expect(readFileSync(out.path).equals(piece)).toBe(true)
    expect(released).toBe(0)
  })

  it.runIf(process.platform === 'linux')('fails with the name of the output when the disk is full', async () => {
    const descriptor = openSync('/dev/full', 'w')
    const full = {
      path: 'tokens.pbin',
      reserve: async () => ({ descriptor, position: 0 }),
      ensureHeld: async () => {},
    } as unknown as OutputFile
    const writer = new ChunkWriter(full, poolWith(0), checksumsOf([]).state())
    await writer.append(shared(5000, 4), () => {})
    await writer.flush()
    await expect(writer.checksums()).rejects.toMatchObject({
      code: 'FILE_UNWRITABLE',
      where: { file: 'tokens.pbin' },
      message: expect.stringContaining('ENOSPC'),
    })
    await writer.close()
    closeSync(descriptor)
  })
})

it('writes nothing for a process that was suspended since it last checked its lock', () => {
  const path = join(folder, 'suspended')
  writeFileSync(path, 'others')
  const descriptor = openSync(path, 'r+')
  const task = { file: path, descriptor, position: 0, pieces: [shared(6, 5)], checksums: checksumsOf([]).state() }
  const heartbeat = new Heartbeat()
  expect(writeChunk({ ...task, lockedAt: Date.now() - 15_000 }, heartbeat)).toBe(LOCK_UNCERTAIN)
  expect(readFileSync(path, 'utf8')).toBe('others')
  expect(writeChunk({ ...task, lockedAt: Date.now() }, heartbeat)).toEqual(checksumsOf(task.pieces).state())
  closeSync(descriptor)
})
