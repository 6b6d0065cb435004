/** Reads the post-processor of a tokenizer.json: the ids that it adds before and after every text. */
import { type Step, stepsOf, unsupportedStep } from './step-list.js'
import { invalid, type Json, section, sections, unsupported } from './tokenizer-fields.js'

/** Ids, or the place of the text. */
type Part = number | 'text'

/** Encodings, as the Rust library passes them on: a template makes one of each of its parts. */
type Encodings = readonly (readonly Part[])[]

/** @throws TOKENIZER_INVALID, UNSUPPORTED */
export function readPostProcessor(post: Json | undefined): { before: number[]; after: number[] } {
  const steps = stepsOf(post, 'post_processor', 'processors')
  const parts = steps.reduce(applyStep, [['text']] as Encodings).flat()
  const text = parts.indexOf('text')
  if (text < 0 || parts.lastIndexOf('text') !== text) {
    unsupported('post_processor: the text does not occur exactly once')
  }
  return { before: parts.slice(0, text) as number[], after: parts.slice(text + 1) as number[] }
}

function applyStep(encodings: Encodings, step: Step): Encodings {
  const { json, type } = step
  if (type === 'ByteLevel') return encodings
  if (type === 'TemplateProcessing') return applyTemplate(encodings, step)
  if (type !== 'BertProcessing' && type !== 'RobertaProcessing') return unsupportedStep(step)
  const idOf = (pair: unknown): number =>
    Array.isArray(pair) ? Number(pair[1]) : invalid(`${step.place} lacks its tokens`)
  const [cls, sep] = [idOf(json.cls), idOf(json.sep)]
  // The library reads either type as RobertaProcessing if it has that one's fields.
  const isRoberta = json.trim_offsets !== undefined && json.add_prefix_space !== undefined
  return encodings.map((ids, at) => [...(at === 0 ? [cls] : isRoberta ? [sep] : []), ...ids, sep])
}

function applyTemplate(encodings: Encodings, step: Step): Encodings {
  if (encodings.length > 2) return unsupportedStep(step, ' after a template with more than two parts')
  const special = section(step.json, 'special_tokens') ?? {}
  return sections(step.json, encodings.length === 2 ? 'pair' : 'single').map((part): readonly Part[] => {
    const sequence = section(part, 'Sequence')
    if (sequence !== undefined) {
      return encodings[sequence.id === 'A' ? 0 : 1] ?? invalid(`${step.place}.single uses the sequence ${sequence.id}`)
    }
    const id = String(section(part, 'SpecialToken')?.id)
    const { ids } = (special[id] ?? {}) as { ids?: number[] }
    return ids ?? invalid(`${step.place}: the token ${id} is not among its special_tokens`)
  })
}
