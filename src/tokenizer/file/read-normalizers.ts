/** Reads the normalizer of a tokenizer.json. */
import { CharacterMap } from '../steps/character-map.js'
import type { UnicodeForm } from '../steps/normalize.js'
import {
  bertNormalizer,
  byteLevelNormalizer,
  formNormalizer,
  lowercaseNormalizer,
  nmtNormalizer,
  precompiledNormalizer,
  prependNormalizer,
  replaceNormalizer,
  stripAccentsNormalizer,
  stripNormalizer,
  type TextNormalizer,
} from '../steps/text-normalizers.js'
import { finderOf, replacedPatternOf, type Step, textOf, unsupportedStep } from './step-list.js'
import { invalid } from './tokenizer-fields.js'

/** @throws TOKENIZER_INVALID, UNSUPPORTED */
export function readNormalizer(step: Step): TextNormalizer {
  const { json, type, place } = step
  switch (type) {
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return formNormalizer(type as UnicodeForm)
    case 'Lowercase':
      return lowercaseNormalizer()
    case 'Strip':
      return stripNormalizer(json.strip_left === true, json.strip_right === true)
    case 'StripAccents':
      return stripAccentsNormalizer()
    case 'Nmt':
      return nmtNormalizer()
    case 'ByteLevel':
      return byteLevelNormalizer()
    case 'Prepend': {
      const prefix = textOf(step, 'prepend')
      return prefix === '' ? unsupportedStep(step, ' with an empty text') : prependNormalizer(prefix)
    }
    case 'Replace':
      return replaceNormalizer(finderOf(replacedPatternOf(step)), textOf(step, 'content'))
    case 'Bert':
    case 'BertNormalizer': {
      const lowercase = json.lowercase === true
      const stripAccents = typeof json.strip_accents === 'boolean' ? json.strip_accents : lowercase
      const options = { cleanText: json.clean_text === true, handleChineseChars: json.handle_chinese_chars === true }
      return bertNormalizer({ ...options, stripAccents, lowercase })
    }
    case 'Precompiled':
      return precompiledNormalizer(new CharacterMap(bytesOfBase64(textOf(step, 'precompiled_charsmap'), place), []))
    default:
      return unsupportedStep(step)
  }
}

function bytesOfBase64(text: string, place: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), character => character.charCodeAt(0))
  } catch {
    return invalid(`${place}.precompiled_charsmap is not base64`)
  }
}
