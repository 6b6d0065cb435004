/** Pairs of neighbouring characters between which a pre-tokenizer splits any text. */
import { compilePattern, type Dfa, MATCHES, START_STATE } from '../patterns/dfa.js'
import { GPT2_PATTERN } from '../patterns/pretokenize.js'
import { isPunctuation } from '../patterns/text-classes.js'
import { WORDS_AND_SIGNS } from './read-pre-tokenizers.js'
import { behaviorOf, patternOf, type Step } from './step-list.js'

type PairTest = (first: number, second: number) => boolean

/** The test for the first pre-tokenizer of a text; `undefined` if there are no such pairs. */
export function pairSplitOf(step: Step | undefined): PairTest | undefined {
  switch (step?.type) {
    case 'BertPreTokenizer':
      return (first, second) => isPunctuation(first) || isPunctuation(second)
    case 'ByteLevel':
      // The prefix is added once per text.
      return step.json.use_regex === false || step.json.add_prefix_space === true
        ? undefined
        : matchEnds(compilePattern(GPT2_PATTERN))
    case 'Split': {
      const pattern = patternOf(step)
      const keepsMatches = ['Isolated', 'Removed'].includes(behaviorOf(step))
      return keepsMatches && 'dfa' in pattern ? matchEnds(pattern.dfa) : undefined
    }
    case 'Whitespace':
      return matchEnds(compilePattern(WORDS_AND_SIGNS))
    default:
      return undefined
  }
}

/** A match ends between two characters if every state after the first one does so, before the second one as at the end. */
function matchEnds({ classes, table }: Dfa): PairTest {
  return (first, second) => {
    const kind = classes[first]!
    if (table[START_STATE + kind]! < START_STATE) return false
    for (let state = START_STATE; state < table.length; state += START_STATE) {
      const next = table[state + kind]! & ~MATCHES
      if (next !== 0 && (table[next + classes[second]!] !== MATCHES || (table[next]! & MATCHES) === 0)) return false
    }
    return true
  }
}
