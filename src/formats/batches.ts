/**
 * The items that flow between stages. One item is a batch of about 64 KiB to 4 MiB, never a single document: per-item
 * costs are negligible and backpressure can count bytes. Batches of one stream are numbered from 0 without gaps.
 */

/** Properties of every item: its position in the stream and the bytes that it keeps in memory. */
export interface Batch {
  /** Position in the stream, from 0, without gaps. */
  readonly number: number
  /** Bytes of payload, as counted by progress and backpressure. */
  readonly byteLength: number
  /** Set on a batch after which a killed run can be resumed; a stage passes it on with the result of the batch. */
  readonly mark?: Mark | undefined
  /** Set if the arrays are in reusable memory: the stage that consumes them calls this when it has finished. */
  readonly release?: (() => void) | undefined
}

/**
 * A point in the stream from which a killed run can be resumed. It travels with the batch before it; each stage records
 * its progress on it, and each output reports when everything before it is durable. files/journal/run-journal.ts creates
 * marks.
 */
export interface Mark {
  /** Number of the mark within the run, from 0. */
  readonly number: number
  /** @param fact a JSON value, or bytes */
  note(name: string, fact: unknown): void
  /** Reports an output's progress; resolves once the record that this may complete has been written. */
  reached(output: string, progress: OutputProgress): Promise<void>
}

/** Position from which reading a file of lines continues. */
export interface LineCursor {
  readonly byteOffset: number
  /** Number, from 1, of the line that starts there. */
  readonly line: number
  /** The position is inside an overlong line, whose rest is skipped. */
  readonly skipping?: boolean | undefined
}

/** Identity and size of a temporary file; see files/file-proof.ts. */
export interface TemporaryFileProof {
  readonly inode: number
  readonly bytes: number
  /** CRC-32 of the last bytes. */
  readonly checksum: number
}

/** Progress of an output at a mark. */
export interface OutputProgress {
  /** Identifies the temporary file and says how many bytes of it are written. */
  readonly part: TemporaryFileProof
  /** Bytes after those in the file, see `OutputFile.mark`. */
  readonly tailBytes: number
  /** The same of the output's second temporary file, if it has one. */
  readonly scratch?: TemporaryFileProof | undefined
  /** State that the sink needs to resume. */
  readonly state: unknown
}

/** Positions of lines in a file: line i is [byteOffset + starts[i], byteOffset + ends[i]), without the line feed. */
export interface LinePlaces extends Batch {
  readonly kind: 'lines'
  readonly byteOffset: number
  readonly starts: Uint32Array
  readonly ends: Uint32Array
  /** Name of the input in messages; '-' for an unnamed stream. */
  readonly source: string
}

/** Complete lines of a JSONL file, each a view [starts[i], ends[i]) of `bytes`; byteOffset is the offset of bytes[0]. */
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
  /** Document i was extracted from line i of these; for messages and quarantine. */
  readonly origin: LineBatch
}

export type TokenArray = Uint8Array | Uint16Array | Uint32Array

/** Identity of the tokenizer that produced tokens: sufficient to reject a different one. */
export interface TokenizerIdentity {
  /** Hash of the tokenizer file, in hex. */
  readonly sha256: string
  /** Size of the base vocabulary, without added tokens. */
  readonly vocabSize: number
  readonly endOfDocumentId: number | undefined
}

/** A tokenizer file and the hash that identifies its content. */
export interface TokenizerReference {
  readonly path: string
  /** Hash of the file, in hex. */
  readonly sha256: string
}

/** Concatenated token ids of complete documents, each with its end-of-document token if the user requested one. */
export interface TokenBatch extends Batch {
  readonly kind: 'tokens'
  readonly tokens: TokenArray
  /** Number of tokens of each document; the sum is tokens.length. */
  readonly lengths: Uint32Array
  /** Undefined if unknown, as for tokens from a file without a manifest. */
  readonly tokenizer: TokenizerIdentity | undefined
}

/** Where documents are in a packed file: document i has lengths[i] tokens from starts[i] on. */
export interface SpanBatch extends Batch {
  readonly kind: 'spans'
  readonly starts: Float64Array
  readonly lengths: Uint32Array
  /** Number of the file among those listed, from 0, and its facts. */
  readonly file: number
  readonly dataBytes: number
  readonly tokenBytes: number
}

/** Distinct words and how often each occurs: word i is bytes[ends[i - 1] ?? 0, ends[i]). */
export interface WordBatch extends Batch {
  readonly kind: 'words'
  readonly bytes: Uint8Array
  readonly ends: Float64Array
  readonly counts: Float64Array
}

/** Tokens [start, end) of a packed file, without the last target, which belongs to the next sample too. */
export interface TokenRange {
  readonly path: string
  readonly start: number
  readonly end: number
  /** Distance between the starts of consecutive samples, in tokens. */
  readonly stride: number
  /** Packed files whose documents are the rows, where `path` is a .pack file and its tokens are those of its rows. */
  readonly documentsOf?: readonly string[]
}

/** Attention between the documents of a sample: to all tokens before, or only to those of the same document. */
export type DocumentTreatment = 'join' | 'mask'

/** Training samples: `rows` blocks of `block` token ids each, row-major. */
export interface SampleBatch extends Batch {
  readonly kind: 'samples'
  /** Shape [rows, block]. */
  readonly tokens: Int32Array
  readonly rows: number
  /** sequence_length + 1 where the last target of a block is the first input of the next. */
  readonly block: number
  /** Place in the block at which the document of each token starts, shape [rows, block]; absent: documents are joined. */
  readonly starts?: Int32Array
  /** Tokens of each row before its padding; absent: no padding. */
  readonly lengths?: Int32Array
  /** Position of the stream after this batch; a checkpoint stores that of the last batch trained on. */
  readonly cursor: SampleCursor
  /** Undefined if unknown, as for files without a manifest. */
  readonly tokenizer?: TokenizerIdentity | undefined
  /** Tokens that the samples of an epoch are taken from; undefined if unknown, as for samples cut from a stream. */
  readonly ranges?: readonly TokenRange[]
  /** Complete batches that the source provides per epoch; undefined if unknown. */
  readonly batchesPerEpoch?: number
  /** Set for samples of a mixture. */
  readonly mixture?: BatchOfMixture
}

/** Facts about a batch of a mixture. */
export interface BatchOfMixture {
  readonly names: readonly string[]
  /** Index in `names` of each row's source. */
  readonly sources: Uint16Array
  /** Batches per step that the steps of the phases are counted with; undefined without phases. */
  readonly batchesPerStep: number | undefined
  /** Samples of all ranks per batch. */
  readonly samplesPerBatch: number
  /** Samples of all ranks that the sources can provide. */
  readonly availableSamples: number
  /** Why the samples end there. */
  readonly limit: string
}

/** Identity of a mixture: sources and weights of all phases. */
export interface MixtureIdentity {
  /** Of each source by name: digest of its samples and their order, and of its files' checksums if all have a manifest. */
  readonly sources: Readonly<Record<string, { readonly samples: string; readonly content?: string }>>
  readonly phases: readonly {
    readonly firstSample: number
    /** Integers without a common divisor, of the sources with a weight. */
    readonly weights: Readonly<Record<string, string>>
  }[]
}

/** Position in a shuffled, sharded order of samples, with the identity of that order: a mismatch is rejected. */
export interface SampleCursor {
  readonly version: 1
  /** Samples of all ranks consumed since the start of epoch 0: Modalities' `skip_num_global_samples`. */
  readonly globalSamples: number
  readonly seed: number
  readonly sampleCount: number
  readonly sequenceLength: number
  /** Size and token width of the packed file, a cheap part of its identity. */
  readonly dataBytes: number
  readonly tokenBytes: number
  /** Order of the samples; like all fields below, absent in checkpoints of earlier versions and where it is unknown. */
  readonly order?: string
  /** Number of the first sample of the range, among the samples of all files. */
  readonly firstSample?: number
  /** Tokens per sample. */
  readonly block?: number
  /** Absent where documents are joined. */
  readonly documents?: Exclude<DocumentTreatment, 'join'>
  /** Digest of the rows, where samples are rows of a .pack file. */
  readonly rows?: string
  /** Digest of the sizes of all files, in order. */
  readonly files?: string
  /** Digest of the files' checksums, if all have a manifest. */
  readonly content?: string
  /** Digest of the ranges of the files, unless the range is one of all files together. */
  readonly range?: string
  /** Hash of the tokenizer that packed the files. */
  readonly tokenizer?: string
  readonly mixture?: MixtureIdentity
}

/** Kinds of items, as named by registry entries and `penstock stages`. */
export type ItemKind = 'bytes' | 'lines' | 'documents' | 'words' | 'tokens' | 'spans' | 'samples'

/** Number of records (lines, documents, samples) in an item; 0 for bytes and anything else without records. */
export function recordCount(item: unknown): number {
  if (typeof item !== 'object' || item === null || !('kind' in item)) return 0
  const batch = item as
    | LinePlaces
    | DocumentBatch
    | WordBatch
    | TokenBatch
    | SpanBatch
    | SampleBatch
    | { readonly kind: undefined }
  switch (batch.kind) {
    case 'lines':
      return batch.starts.length
    case 'documents':
      return batch.offsets.length - 1
    case 'words':
      return batch.counts.length
    case 'tokens':
    case 'spans':
      return batch.lengths.length
    case 'samples':
      return batch.rows
    default:
      return 0
  }
}
