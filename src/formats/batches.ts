/**
 * The items that travel between stages. One item is a batch of about 64 KiB to 4 MiB, never a single document: per-item
 * costs vanish and back-pressure can count bytes. Batches of one stream are numbered from 0 without gaps.
 */

/** What every item tells: its place in the stream and the bytes that it keeps alive. */
export interface Batch {
  /** Position in the stream, from 0, without gaps. */
  readonly number: number
  /** Bytes of payload; what progress and the back-pressure budget count. */
  readonly byteLength: number
  /** Set on a batch behind which a killed run can go on; a stage hands it on with what it makes of the batch. */
  readonly mark?: Mark | undefined
  /** Where its arrays lie in memory that is used again: called by the one stage that takes them, when it is done. */
  readonly release?: (() => void) | undefined
}

/**
 * A place in the stream from which a killed run can go on. It travels with the batch before it; each stage notes on it
 * how far it had come there, each output reports when all before it is durable. stages/run-journal.ts makes them.
 */
export interface Mark {
  /** Position among the marks of a run, from 0. */
  readonly number: number
  /** @param fact of JSON's kinds, or bytes */
  note(name: string, fact: unknown): void
  /** Settles when what follows from it is on record too. */
  reached(output: string, progress: OutputProgress): Promise<void>
}

/** Where a file of lines is to be read on. */
export interface LineCursor {
  readonly byteOffset: number
  /** The number, from 1, of the line that starts there. */
  readonly line: number
  /** That line is longer than the limit, and it begins before: its rest is passed over. */
  readonly skipping?: boolean | undefined
}

/** How far an output had come at a mark. */
export interface OutputProgress {
  readonly bytes: number
  /** Bytes that stand behind these in the file, see `OutputFile.mark`. */
  readonly tailBytes: number
  /** Bytes of the temporary file beside it, where it has one. */
  readonly scratchBytes: number
  /** What its sink must know to go on. */
  readonly state: unknown
}

/** Where lines of a file stand: line i is [byteOffset + starts[i], byteOffset + ends[i]), the line feed outside. */
export interface LinePlaces extends Batch {
  readonly kind: 'lines'
  readonly byteOffset: number
  readonly starts: Uint32Array
  readonly ends: Uint32Array
  /** The input's name for messages; '-' for a stream without one. */
  readonly source: string
}

/** Whole lines of a JSONL file, each a view [starts[i], ends[i]) of `bytes`; byteOffset is that of bytes[0]. */
export interface LineBatch extends LinePlaces {
  readonly bytes: Uint8Array
  /** Line number, from 1, of each entry: `firstLine + lines[i]`. Stages that drop a line drop its entry. */
  readonly firstLine: number
  readonly lines: Uint32Array
}

/** Texts as UTF-8: document i is bytes[offsets[i], offsets[i + 1]). */
export interface DocumentBatch extends Batch {
  readonly kind: 'documents'
  readonly bytes: Uint8Array
  /** Length n + 1. */
  readonly offsets: Uint32Array
  /** Document i was taken out of line i of these: for messages and quarantine. */
  readonly origin: LineBatch
}

export type TokenArray = Uint8Array | Uint16Array | Uint32Array

/** Which tokenizer made some tokens: enough to refuse another one. */
export interface TokenizerIdentity {
  /** Of the tokenizer file's bytes, in hex. */
  readonly sha256: string
  /** Size of the base vocabulary, without added tokens: what the width of a token goes by. */
  readonly vocabSize: number
  readonly endOfDocumentId: number | undefined
}

/** The file of a tokenizer and what identifies its content. */
export interface TokenizerReference {
  readonly path: string
  /** Of the file's bytes, in hex. */
  readonly sha256: string
}

/** Token ids of whole documents, one after the other, end-of-document token included where the user asked for one. */
export interface TokenBatch extends Batch {
  readonly kind: 'tokens'
  readonly tokens: TokenArray
  /** Tokens of each document; they add up to tokens.length. */
  readonly lengths: Uint32Array
  /** Undefined where it is not known, as for tokens read from a file without a manifest. */
  readonly tokenizer: TokenizerIdentity | undefined
}

/** Training samples: `rows` blocks of `block` token ids each, row-major. */
export interface SampleBatch extends Batch {
  readonly kind: 'samples'
  /** Shape [rows, block]. */
  readonly tokens: Int32Array
  readonly rows: number
  /** sequence_length + 1 where the last target of a block is the first input of the next. */
  readonly block: number
  /** Where the stream stands after this batch; a checkpoint keeps that of the last batch trained on. */
  readonly cursor: SampleCursor
}

/** Position in a shuffled, sharded order of samples, with what it is a position in: a mismatch is refused. */
export interface SampleCursor {
  readonly version: 1
  /** Samples of all ranks consumed since the start of epoch 0: the reference's `skip_num_global_samples`. */
  readonly globalSamples: number
  readonly seed: number
  readonly sampleCount: number
  readonly sequenceLength: number
  /** Size and token width of the packed file: the cheap half of its identity. */
  readonly dataBytes: number
  readonly tokenBytes: number
}

/** The kinds of item, as registry entries and `penstock stages` name them. */
export type ItemKind = 'bytes' | 'lines' | 'documents' | 'tokens' | 'samples'

/** How many records (lines, documents, samples) an item holds; 0 for bytes and what else is no batch of records. */
export function recordCount(item: unknown): number {
  if (typeof item !== 'object' || item === null || !('kind' in item)) return 0
  const batch = item as LinePlaces | DocumentBatch | TokenBatch | SampleBatch | { readonly kind: undefined }
  switch (batch.kind) {
    case 'lines':
      return batch.starts.length
    case 'documents':
      return batch.offsets.length - 1
    case 'tokens':
      return batch.lengths.length
    case 'samples':
      return batch.rows
    default:
      return 0
  }
}
