/**
 * Files of named tensors, `.safetensors`, for checkpoints and exported models. Little-endian:
 *
 * | offset | bytes | type | meaning |
 * | --- | --- | --- | --- |
 * | 0 | 8 | u64 | H, size of the header; written as a multiple of 8 |
 * | 8 | H | JSON, padded with spaces | {"__metadata__": {key: text}, name: {"dtype", "shape", "data_offsets": [start, end]}} |
 * | 8 + H | to the end | raw | the tensors, row-major, without gaps; offsets are relative to here |
 *
 * Tensors are sorted by descending width of their type, then by name, as in the official library: each is aligned, and the
 * bytes do not depend on the order given. Source: https://github.com/huggingface/safetensors (README, format).
 */
import { PenstockError, type Where } from '../errors.js'
import { duplicateKey } from './duplicate-key.js'

/** Bytes per element, in the order of the official library, whose files put the last type first. */
const DTYPE_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
} as const

const DTYPE_ORDER = Object.keys(DTYPE_BYTES)
const LENGTH_BYTES = 8
/** Limit of the official library. */
const MAX_HEADER_BYTES = 100_000_000
const METADATA_KEY = '__metadata__'

export type Dtype = keyof typeof DTYPE_BYTES

export interface TensorType {
  readonly name: string
  readonly dtype: Dtype
  /** Sizes of the dimensions, outermost first; empty for a scalar. */
  readonly shape: readonly number[]
}

/** A tensor and its bytes [start, end) of the data section. */
export interface TensorPlace extends TensorType {
  readonly start: number
  readonly end: number
}

export interface Tensor extends TensorType {
  /** Row-major, little-endian. */
  readonly data: ArrayBufferView
}

export interface SafetensorsLayout {
  /** In the order of the data section. */
  readonly tensors: readonly TensorPlace[]
  readonly metadata: Readonly<Record<string, string>>
  /** Offset of the data section in the file. */
  readonly dataOffset: number
}

/** Size of the tensor in bytes. @throws SAFETENSORS_INVALID for an invalid shape */
export function tensorByteLength({ name, dtype, shape }: TensorType, where: Where = {}): number {
  const elements = shape.reduce((product, size) => (isSize(size) ? product * size : Number.NaN), 1)
  const byteLength = elements * DTYPE_BYTES[dtype]
  if (!isSize(byteLength))
    refuse(`tensor ${quote(name)} has the invalid shape [${shape.slice(0, 10).join(', ')}]`, where)
  return byteLength
}

/**
 * Plans a file: its header, and the tensors in the order in which their data must follow.
 * @throws SAFETENSORS_INVALID for two tensors of the same name, or an invalid shape
 */
export function planSafetensors(
  types: readonly TensorType[],
  metadata: Readonly<Record<string, string>> = {},
): SafetensorsLayout & { readonly header: Uint8Array } {
  let end = 0
  const tensors = types.toSorted(compareTensors).map(type => {
    const start = end
    end += tensorByteLength(type)
    return { name: type.name, dtype: type.dtype, shape: [...type.shape], start, end }
  })
  const names = new Set(tensors.map(tensor => tensor.name)).add(METADATA_KEY)
  if (names.size !== tensors.length + 1) refuse(`two tensors have the same name, or one is named ${METADATA_KEY}`)
  const header = encodeHeader(tensors, metadata)
  return { tensors, metadata, dataOffset: header.length, header }
}

/** Encodes a file in memory. @throws SAFETENSORS_INVALID also for data that does not match its shape */
export function encodeSafetensors(
  tensors: readonly Tensor[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const layout = planSafetensors(tensors, metadata)
  const dataByName = new Map(tensors.map(tensor => [tensor.name, tensor.data]))
  const file = new Uint8Array(layout.dataOffset + (layout.tensors.at(-1)?.end ?? 0))
  file.set(layout.header)
  for (const { name, start, end } of layout.tensors) {
    const { buffer, byteOffset, byteLength } = dataByName.get(name)!
    if (byteLength !== end - start)
      refuse(`tensor ${quote(name)} has ${byteLength} bytes; its shape needs ${end - start}`)
    file.set(new Uint8Array(buffer, byteOffset, byteLength), layout.dataOffset + start)
  }
  return file
}

/** Number of bytes to read for the complete header, from the first eight bytes. @throws SAFETENSORS_INVALID */
export function safetensorsHeaderBytes(firstBytes: Uint8Array, fileBytes: number, where: Where = {}): number {
  if (firstBytes.length < LENGTH_BYTES || fileBytes < LENGTH_BYTES + 2) {
    return refuse(`not a safetensors file: ${fileBytes} bytes`, { ...where, byteOffset: 0 })
  }
  const view = new DataView(firstBytes.buffer, firstBytes.byteOffset, LENGTH_BYTES)
  const headerBytes = Number(view.getBigUint64(0, true))
  if (headerBytes > MAX_HEADER_BYTES || headerBytes > fileBytes - LENGTH_BYTES) {
    refuse(`a header of ${headerBytes} bytes in a file of ${fileBytes}`, { ...where, byteOffset: 0 })
  }
  return LENGTH_BYTES + headerBytes
}

/**
 * Decodes the header from the first bytes of a file of `fileBytes` bytes. Tensors that overlap, leave gaps or do not end
 * exactly at the end of the file are rejected. @throws SAFETENSORS_INVALID
 */
export function decodeSafetensorsHeader(
  firstBytes: Uint8Array,
  fileBytes: number,
  where: Where = {},
): SafetensorsLayout {
  const dataOffset = safetensorsHeaderBytes(firstBytes, fileBytes, where)
  if (firstBytes.length < dataOffset)
    refuse(`the header has ${dataOffset} bytes, but ${firstBytes.length} were read`, where)
  const header = parseHeader(firstBytes.subarray(LENGTH_BYTES, dataOffset), where)
  const metadata = readMetadata(header, where)
  const tensors = [...header]
    .filter(([name]) => name !== METADATA_KEY)
    .map(([name, entry]) => readTensorPlace(name, entry, where))
    .sort((left, right) => left.start - right.start || left.end - right.end || compareTensors(left, right))
  let end = 0
  for (const tensor of tensors) {
    if (tensor.start !== end)
      refuse(`tensor ${quote(tensor.name)} starts at ${tensor.start}, but the previous one ends at ${end}`, where)
    end = tensor.end
  }
  if (dataOffset + end !== fileBytes) {
    refuse(`the tensors end at byte ${dataOffset + end}, but the file at ${fileBytes}`, {
      ...where,
      byteOffset: dataOffset,
    })
  }
  return { tensors, metadata, dataOffset }
}

/** Decodes a complete file. The data are views of `bytes`, aligned if `bytes` is. @throws SAFETENSORS_INVALID */
export function decodeSafetensors(
  bytes: Uint8Array,
  where: Where = {},
): {
  readonly tensors: ReadonlyMap<string, TensorType & { readonly data: Uint8Array }>
  readonly metadata: Readonly<Record<string, string>>
} {
  const { tensors, metadata, dataOffset } = decodeSafetensorsHeader(bytes, bytes.length, where)
  const entries = tensors.map(({ name, dtype, shape, start, end }) => {
    return [name, { name, dtype, shape, data: bytes.subarray(dataOffset + start, dataOffset + end) }] as const
  })
  return { tensors: new Map(entries), metadata }
}

function encodeHeader(tensors: readonly TensorPlace[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const entries = tensors.map(({ name, dtype, shape, start, end }) => {
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [start, end] })}`
  })
  const sorted = Object.entries(metadata).sort(([left], [right]) => compareText(left, right))
  // Built as text, since an object would move names that look like numbers to the front.
  const texts = sorted.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`)
  if (texts.length > 0) entries.unshift(`"${METADATA_KEY}":{${texts.join(',')}}`)
  const json = new TextEncoder().encode(`{${entries.join(',')}}`)
  const headerBytes = Math.ceil(json.length / 8) * 8
  if (headerBytes > MAX_HEADER_BYTES)
    refuse(`a header of ${headerBytes} bytes; at most ${MAX_HEADER_BYTES} are allowed`)
  const header = new Uint8Array(LENGTH_BYTES + headerBytes).fill(0x20)
  new DataView(header.buffer).setBigUint64(0, BigInt(headerBytes), true)
  header.set(json, LENGTH_BYTES)
  return header
}

function parseHeader(bytes: Uint8Array, where: Where): Map<string, unknown> {
  let header: unknown
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    header = JSON.parse(text)
  } catch (error) {
    throw new PenstockError(
      'SAFETENSORS_INVALID',
      'the header is not JSON',
      { ...where, byteOffset: LENGTH_BYTES },
      error,
    )
  }
  if (!isObject(header)) return refuse('the header is not a JSON object', { ...where, byteOffset: LENGTH_BYTES })
  const repeated = duplicateKey(text)
  if (repeated !== undefined) {
    return refuse(`the name ${quote(repeated)} occurs twice in the header`, { ...where, byteOffset: LENGTH_BYTES })
  }
  // A map, so that names from a file cannot become properties of an object.
  return new Map(Object.entries(header))
}

function readMetadata(header: ReadonlyMap<string, unknown>, where: Where): Record<string, string> {
  const metadata = header.get(METADATA_KEY) ?? {}
  if (!isObject(metadata)) return refuse('the metadata is not an object', where)
  const entries = Object.entries(metadata).map(([key, value]): [string, string] => {
    return typeof value === 'string' ? [key, value] : refuse(`the metadata entry ${quote(key)} is not a string`, where)
  })
  return Object.fromEntries(entries)
}

function readTensorPlace(name: string, entry: unknown, where: Where): TensorPlace {
  if (!isObject(entry)) return refuse(`tensor ${quote(name)} is not described by an object`, where)
  const { dtype, shape, data_offsets: offsets } = entry
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    return refuse(
      `tensor ${quote(name)} has the unknown type ${quote(String(dtype))}; expected ${DTYPE_ORDER.join(', ')}`,
      where,
    )
  }
  if (!Array.isArray(shape) || !shape.every(isSize)) return refuse(`tensor ${quote(name)} has no valid shape`, where)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    return refuse(`tensor ${quote(name)} has no valid data_offsets`, where)
  }
  const place = { name, dtype: dtype as Dtype, shape, start: offsets[0]!, end: offsets[1]! }
  const byteLength = tensorByteLength(place, where)
  if (place.end - place.start !== byteLength) {
    refuse(`tensor ${quote(name)} has ${place.end - place.start} bytes; its shape needs ${byteLength}`, where)
  }
  return place
}

function compareTensors(left: TensorType, right: TensorType): number {
  return DTYPE_ORDER.indexOf(right.dtype) - DTYPE_ORDER.indexOf(left.dtype) || compareText(left.name, right.name)
}

function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0
}

function isSize(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Names come from files: they are truncated and escaped for messages. */
function quote(name: string): string {
  return JSON.stringify(name.slice(0, 80))
}

function refuse(message: string, where: Where = {}): never {
  throw new PenstockError('SAFETENSORS_INVALID', message, where)
}
