/**
 * Tensors in safetensors files of any size, read and written in pieces: a tensor may have more than 2 GiB, and a model more
 * than memory. A model is one file, or shards with an index:
 *
 *   model.safetensors
 *   model-00001-of-00003.safetensors ...    at most `maxShardBytes` of tensors each
 *   model.safetensors.index.json            {"metadata": {"total_size"}, "weight_map": {name: file}}
 *
 * Values are float32 in memory; files may hold F32, BF16 or F16.
 */
import { existsSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { PenstockError, toPenstockError } from '../errors.js'
import { yieldIfDue } from '../files/event-loop.js'
import { readAll, readAt } from '../files/read-at.js'
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '../formats/half-floats.js'
import {
  decodeSafetensorsHeader,
  planSafetensors,
  safetensorsHeaderBytes,
  type TensorPlace,
  tensorByteLength,
} from '../formats/safetensors.js'
import { elementCount, type NamedTensor } from './weights.js'

/** Types that files of weights may have. */
export const weightDtypes = ['F32', 'BF16', 'F16'] as const
export type WeightDtype = (typeof weightDtypes)[number]

/** A tensor whose values are computed or read when they are needed. */
export interface LazyTensor {
  readonly shape: readonly number[]
  /** The values in row-major order, in pieces of any size. */
  pieces(): AsyncIterable<Float32Array> | Iterable<Float32Array>
}

/** Size of hub shards, as Hugging Face writes them. */
export const maxShardBytes = 5e9

/** Elements read or written at once. */
const pieceElements = 1 << 22
const maxFirstRead = 1 << 20

export const modelFile = 'model.safetensors'
export const indexFile = 'model.safetensors.index.json'

interface StoredTensor extends TensorPlace {
  readonly file: OpenFile
  /** Offset of the tensor in its file. */
  readonly offset: number
}

interface OpenFile {
  readonly path: string
  readonly handle: FileHandle
}

export class TensorReader {
  readonly tensors: ReadonlyMap<string, LazyTensor>
  readonly metadata: Readonly<Record<string, string>>
  readonly #files: readonly OpenFile[]

  private constructor(files: readonly OpenFile[], tensors: readonly StoredTensor[], metadata: Record<string, string>) {
    this.#files = files
    this.metadata = metadata
    this.tensors = new Map(
      tensors.map(tensor => [tensor.name, { shape: tensor.shape, pieces: () => readPieces(tensor) }]),
    )
  }

  /** Opens `model.safetensors`, or the shards of an index, in a folder. @throws FILE_UNREADABLE, CHECKPOINT_INVALID */
  static async openModel(folder: string): Promise<TensorReader> {
    const index = join(folder, indexFile)
    if (existsSync(join(folder, modelFile)) || !existsSync(index)) return TensorReader.open([join(folder, modelFile)])
    return TensorReader.open(await shardsOf(index))
  }

  /** @throws FILE_UNREADABLE, CHECKPOINT_INVALID for invalid files, other types, and tensors in two files */
  static async open(paths: readonly string[]): Promise<TensorReader> {
    const files: OpenFile[] = []
    const tensors = new Map<string, StoredTensor>()
    let metadata: Record<string, string> = {}
    try {
      for (const path of paths) {
        const handle = await open(path).catch(error => {
          throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
        })
        const file = { path, handle }
        files.push(file)
        const layout = await readLayout(file)
        metadata = { ...metadata, ...layout.metadata }
        for (const tensor of layout.tensors) {
          if (!isWeightDtype(tensor.dtype)) {
            const message = `tensor ${tensor.name} is ${tensor.dtype}; supported are ${weightDtypes.join(', ')}`
            throw new PenstockError('CHECKPOINT_INVALID', message, { file: path })
          }
          if (tensors.has(tensor.name)) {
            throw new PenstockError('CHECKPOINT_INVALID', `tensor ${tensor.name} is in two files`, { file: path })
          }
          tensors.set(tensor.name, { ...tensor, file, offset: layout.dataOffset + tensor.start })
        }
      }
      return new TensorReader(files, [...tensors.values()], metadata)
    } catch (error) {
      await closeAll(files)
      throw error
    }
  }

  async close(): Promise<void> {
    await closeAll(this.#files)
  }
}

/** All values of a tensor, in one array. */
export async function valuesOf({ shape, pieces }: LazyTensor): Promise<Float32Array> {
  const values = new Float32Array(elementCount(shape))
  let filled = 0
  for await (const piece of pieces()) {
    values.set(piece, filled)
    filled += piece.length
    await yieldIfDue()
  }
  return values
}

/** A tensor of zeros, created in pieces. */
export function zerosOf(shape: readonly number[]): LazyTensor {
  return {
    shape,
    *pieces() {
      const total = elementCount(shape)
      for (let done = 0; done < total; done += pieceElements) {
        yield new Float32Array(Math.min(pieceElements, total - done))
      }
    },
  }
}

/** A tensor in memory. */
export function lazyTensor({ shape, values }: NamedTensor): LazyTensor {
  return { shape, pieces: () => [values] }
}

/** Receives the bytes of a file in order. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<unknown>
}

/** Creates a file from the bytes that `content` writes. */
export type FileWriter = (name: string, content: (sink: ByteSink) => Promise<void>) => Promise<void>

/** Creates one file, without fsync. @throws FILE_UNWRITABLE, and the errors of the tensors' values */
export async function writeTensors(
  path: string,
  tensors: ReadonlyMap<string, LazyTensor>,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  const handle = await open(path, 'wx').catch(error => {
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
  })
  try {
    await encodeTensors({ write: bytes => writeFully({ path, handle }, bytes) }, tensors, metadata, 'F32')
  } finally {
    await handle.close()
  }
}

async function encodeTensors(
  sink: ByteSink,
  tensors: ReadonlyMap<string, LazyTensor>,
  metadata: Readonly<Record<string, string>>,
  dtype: WeightDtype,
): Promise<void> {
  const types = [...tensors].map(([name, { shape }]) => ({ name, shape, dtype }))
  const layout = planSafetensors(types, metadata)
  await sink.write(layout.header)
  for (const { name, start, end } of layout.tensors) {
    let written = 0
    for await (const piece of tensors.get(name)!.pieces()) {
      for (let at = 0; at < piece.length; at += pieceElements) {
        const bytes = encode(piece.subarray(at, at + pieceElements), dtype)
        await sink.write(bytes)
        written += bytes.length
      }
    }
    if (written !== end - start) {
      throw new PenstockError('INTERNAL', `tensor ${name} has ${written} bytes; its shape needs ${end - start}`)
    }
  }
}

/**
 * Writes a model as one file, or as shards with an index if it is larger than `maxBytes`.
 * @returns the names of the files, the index last
 */
export async function writeModel(
  writeFile: FileWriter,
  tensors: ReadonlyMap<string, LazyTensor>,
  dtype: WeightDtype,
  maxBytes: number = maxShardBytes,
): Promise<readonly string[]> {
  const { shards, totalBytes } = shardsFor(tensors, dtype, maxBytes)
  const metadata = { format: 'pt' }
  if (shards.length === 1) {
    await writeFile(modelFile, sink => encodeTensors(sink, tensors, metadata, dtype))
    return [modelFile]
  }
  const number = (value: number) => String(value).padStart(5, '0')
  const names: string[] = []
  const weightMap: Record<string, string> = {}
  for (const [index, shard] of shards.entries()) {
    const name = `model-${number(index + 1)}-of-${number(shards.length)}.safetensors`
    await writeFile(name, sink => encodeTensors(sink, new Map(shard), metadata, dtype))
    for (const [tensor] of shard) weightMap[tensor] = name
    names.push(name)
  }
  const index = `${JSON.stringify({ metadata: { total_size: totalBytes }, weight_map: weightMap }, null, 2)}\n`
  await writeFile(indexFile, async sink => void (await sink.write(Buffer.from(index))))
  return [...names, indexFile]
}

type NamedTensors = [string, LazyTensor][]

/** Fills shards in the order of the tensors. A tensor larger than `maxBytes` has a shard to itself. */
function shardsFor(
  tensors: ReadonlyMap<string, LazyTensor>,
  dtype: WeightDtype,
  maxBytes: number,
): { readonly shards: readonly NamedTensors[]; readonly totalBytes: number } {
  const shards: NamedTensors[] = [[]]
  let [shardBytes, totalBytes] = [0, 0]
  for (const [name, tensor] of tensors) {
    const bytes = tensorByteLength({ name, dtype, shape: tensor.shape })
    if (shardBytes > 0 && shardBytes + bytes > maxBytes) {
      shards.push([])
      shardBytes = 0
    }
    shards.at(-1)!.push([name, tensor])
    shardBytes += bytes
    totalBytes += bytes
  }
  return { shards, totalBytes }
}

/** Paths of the shards that an index names. @throws CHECKPOINT_INVALID */
async function shardsOf(index: string): Promise<readonly string[]> {
  const invalid = (message: string, cause?: unknown) =>
    new PenstockError('CHECKPOINT_INVALID', message, { file: index }, cause)
  const text = await readAll(index).catch(error => {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: index })
  })
  let map: unknown
  try {
    map = (JSON.parse(text.toString()) as { weight_map?: unknown } | null)?.weight_map
  } catch (error) {
    throw invalid('the index of the shards is not JSON', error)
  }
  if (typeof map !== 'object' || map === null) throw invalid('the index of the shards has no weight_map')
  const names = new Set(Object.values(map))
  return [...names].map(name => {
    if (typeof name !== 'string' || basename(name) !== name) throw invalid(`invalid name of a shard: ${name}`)
    return join(dirname(index), name)
  })
}

async function readLayout(file: OpenFile): Promise<ReturnType<typeof decodeSafetensorsHeader>> {
  const where = { file: file.path }
  const { size } = await file.handle.stat()
  try {
    const first = await readFully(file, Math.min(size, maxFirstRead), 0)
    const headerBytes = safetensorsHeaderBytes(first, size, where)
    const header = headerBytes <= first.length ? first : await readFully(file, headerBytes, 0)
    return decodeSafetensorsHeader(header, size, where)
  } catch (error) {
    const { message } = toPenstockError(error, 'CHECKPOINT_INVALID')
    throw new PenstockError('CHECKPOINT_INVALID', message, where, error)
  }
}

async function* readPieces({ file, offset, start, end, dtype }: StoredTensor): AsyncGenerator<Float32Array> {
  const width = dtype === 'F32' ? 4 : 2
  for (let done = 0; done < end - start; done += pieceElements * width) {
    const bytes = await readFully(file, Math.min(pieceElements * width, end - start - done), offset + done)
    yield decode(bytes, dtype as WeightDtype)
  }
}

/** Reads exactly `length` bytes. @throws CHECKPOINT_INVALID at the end of the file */
async function readFully(file: OpenFile, length: number, position: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  for (let done = 0; done < length; ) {
    const read = await readAt(file, bytes.subarray(done), position + done)
    if (read === 0) {
      throw new PenstockError('CHECKPOINT_INVALID', 'the file ends within a tensor', { file: file.path })
    }
    done += read
  }
  return bytes
}

async function writeFully({ path, handle }: OpenFile, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done).catch(error => {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
    })
    done += bytesWritten
  }
}

function encode(values: Float32Array, dtype: WeightDtype): Uint8Array {
  const converted = dtype === 'F32' ? values : dtype === 'BF16' ? toBfloat16(values) : toFloat16(values)
  return new Uint8Array(converted.buffer, converted.byteOffset, converted.byteLength)
}

/** @param bytes at the start of their buffer */
function decode({ buffer }: Uint8Array, dtype: WeightDtype): Float32Array {
  if (dtype === 'F32') return new Float32Array(buffer)
  const halves = new Uint16Array(buffer)
  return dtype === 'BF16' ? fromBfloat16(halves) : fromFloat16(halves)
}

function isWeightDtype(dtype: string): dtype is WeightDtype {
  return weightDtypes.some(known => known === dtype)
}

async function closeAll(files: readonly OpenFile[]): Promise<void> {
  for (const { handle } of files) await handle.close()
}
