/**
 * The Jinja templates of chats, by the optional package @huggingface/jinja, which is made for just these: blocks are
 * trimmed as in the reference, `tojson` and `raise_exception` are there, and nothing of the machine can be reached.
 */
import { createRequire } from 'node:module'
import { PenstockError } from '../errors.js'

interface Jinja {
  readonly Template: new (source: string) => { render(values: Record<string, unknown>): string }
}

export type ChatTemplate = (values: Record<string, unknown>) => string

/** @throws PEER_MISSING without the package; CONFIG_INVALID for what is no template */
export function compileChatTemplate(source: string): ChatTemplate {
  let jinja: Jinja
  try {
    jinja = createRequire(import.meta.url)('@huggingface/jinja') as Jinja
  } catch (error) {
    throw new PenstockError('PEER_MISSING', 'chat templates need npm install @huggingface/jinja', {}, error)
  }
  // YAML's block texts put newlines between blocks that the template does not mean.
  const joined = source.replaceAll('}\n{', '}{')
  try {
    const template = new jinja.Template(joined)
    return values => template.render(values)
  } catch (error) {
    const message = `jinja2_chat_template is no template: ${(error as Error).message}`
    throw new PenstockError('CONFIG_INVALID', message, { path: 'jinja2_chat_template' }, error)
  }
}
