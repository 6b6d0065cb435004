/**
 * Chat templates in Jinja, rendered by the optional package @huggingface/jinja, which is written for them: it trims blocks
 * as Modalities does, provides `tojson` and `raise_exception`, and cannot access files, processes or the network.
 */
import { createRequire } from 'node:module'
import { PenstockError } from '../errors.js'

interface Jinja {
  readonly Template: new (source: string) => { render(values: Record<string, unknown>): string }
}

export type ChatTemplate = (values: Record<string, unknown>) => string

/** @throws PEER_MISSING without the package; CONFIG_INVALID for a template with a syntax error */
export function compileChatTemplate(source: string): ChatTemplate {
  let jinja: Jinja
  try {
    jinja = createRequire(import.meta.url)('@huggingface/jinja') as Jinja
  } catch (error) {
    throw new PenstockError('PEER_MISSING', 'chat templates need npm install @huggingface/jinja', {}, error)
  }
  // YAML block scalars insert newlines between template blocks; they are not part of the template.
  const joined = source.replaceAll('}\n{', '}{')
  try {
    const template = new jinja.Template(joined)
    return values => template.render(values)
  } catch (error) {
    const message = `jinja2_chat_template is not a valid template: ${(error as Error).message}`
    throw new PenstockError('CONFIG_INVALID', message, { path: 'jinja2_chat_template' }, error)
  }
}
