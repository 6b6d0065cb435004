/** Reads the decoder of a tokenizer.json. */
import {
  bpeDecoder,
  byteFallbackDecoder,
  byteLevelDecoder,
  ctcDecoder,
  type DecoderStep,
  fuseDecoder,
  metaspaceDecoder,
  replaceDecoder,
  stripDecoder,
  wordPieceDecoder,
} from '../steps/decode.js'
import { metaspaceOptions } from './read-pre-tokenizers.js'
import { characterOf, countOf, finderOf, replacedPatternOf, type Step, textOf, unsupportedStep } from './step-list.js'

/** @throws TOKENIZER_INVALID, UNSUPPORTED */
export function readDecoder(step: Step): DecoderStep {
  const { json, type } = step
  switch (type) {
    case 'BPEDecoder':
      return bpeDecoder(textOf(step, 'suffix'))
    case 'ByteFallback':
      return byteFallbackDecoder()
    case 'ByteLevel':
      return byteLevelDecoder()
    case 'CTC':
      return ctcDecoder(textOf(step, 'pad_token'), textOf(step, 'word_delimiter_token'), json.cleanup === true)
    case 'Fuse':
      return fuseDecoder()
    case 'Metaspace': {
      const { replacement, prependScheme } = metaspaceOptions(step)
      return metaspaceDecoder(replacement, prependScheme !== 'never')
    }
    case 'Replace':
      return replaceDecoder(finderOf(replacedPatternOf(step)), textOf(step, 'content'))
    case 'Strip':
      return stripDecoder(characterOf(step, 'content'), countOf(step, 'start'), countOf(step, 'stop'))
    case 'WordPiece':
      return wordPieceDecoder(textOf(step, 'prefix'), json.cleanup === true)
    default:
      return unsupportedStep(step)
  }
}
