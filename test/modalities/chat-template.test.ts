/**
 * Chat templates against Jinja2 3.1.6 with Modalities' settings: `test/fixtures/jinja/make_cases.py` wrote the expected
 * results. A result that differs changes the training data of the same configuration.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { compileChatTemplate } from '#src/modalities/chat-template'
import { type PythonJson, parsePythonJson } from '#src/modalities/yaml/python-json'

const read = (name: string): string => readFileSync(new URL(`../fixtures/jinja/${name}`, import.meta.url), 'utf8')
const cases = JSON.parse(read('templates.json')) as {
  readonly templates: readonly string[]
  readonly chat_template_data: Record<string, unknown>
}
const expected = JSON.parse(read('expected.json')) as readonly { readonly text?: string; readonly error?: string }[]
// With the spelling of numbers, which JSON.parse drops.
const messages = (parsePythonJson(read('templates.json')) as Map<string, PythonJson>).get('messages')!

/** The rendered text, or the code of the error; other errors of a template have no code. */
function outcome(template: string): { readonly text: string } | { readonly code: string | undefined } {
  try {
    return { text: compileChatTemplate(template)(messages, cases.chat_template_data) }
  } catch (error) {
    return { code: (error as { code?: string }).code }
  }
}

describe('compileChatTemplate', () => {
  it.each(cases.templates.map((template, index) => [template, expected[index]!] as const))(
    'renders %j as Jinja2 does, or rejects it',
    (template, { text }) => {
      const found = outcome(template)
      if ('text' in found) expect(found.text).toBe(text)
      else if (text !== undefined) expect(found.code).toBe('UNSUPPORTED')
    },
  )

  it('supports most of them', () => {
    const rejected = cases.templates.filter((template, index) => {
      const found = outcome(template)
      return expected[index]!.text !== undefined && !('text' in found)
    })
    expect(rejected).toHaveLength(REJECTED)
  })

  it('rejects a syntax error', () => {
    expect(outcome('{% if %}')).toEqual({ code: 'CONFIG_INVALID' })
  })
})

/** Templates of the cases that Jinja2 renders and that are not supported. */
const REJECTED = 43
