/**
 * The whole jq language, by the optional package jq-web (jq compiled to WebAssembly): for filters that `formats/jq` does
 * not compile. It takes the records of a batch in one call, some five thousand a second.
 */
import { createRequire } from 'node:module'
import { PenstockError } from '../errors.js'
import type { FirstOutput, FullJqFilter } from '../formats/extract.js'

interface JqWeb {
  raw(text: string, filter: string, flags: readonly string[]): string
}

/** @throws PEER_MISSING without the package; OPTION_INVALID for what is no filter */
export async function openFullJq(filter: string): Promise<FullJqFilter> {
  const jq = await loadJq(filter)
  // The first output of each record in a list, or its failure: one line for each record, whatever the filter does.
  const wrapped = `try [first((${filter}\n))] catch {failure: tostring}`
  try {
    jq.raw('', wrapped, ['-c'])
  } catch (error) {
    const reason = reasonOf(error)
    throw new PenstockError('OPTION_INVALID', `${filter} is no jq filter: ${reason}`, { path: 'field' }, error)
  }

  function firsts(lines: readonly string[]): readonly FirstOutput[] {
    if (lines.length === 0) return []
    let outputs: string[]
    try {
      outputs = jq.raw(lines.join('\n'), wrapped, ['-c']).split('\n').slice(0, lines.length)
    } catch (error) {
      // A record that ends the program, or that jq does not read, must not cost the others.
      if (lines.length === 1) return [{ failure: reasonOf(error) }]
      const middle = lines.length >> 1
      return [...firsts(lines.slice(0, middle)), ...firsts(lines.slice(middle))]
    }
    if (outputs.length === lines.length && outputs.every(output => output !== '')) return outputs.map(outcomeOf)
    throw new PenstockError('OPTION_INVALID', `${filter} reads other records than its own`, { path: 'field' })
  }
  return { filter, firsts }
}

function outcomeOf(line: string): FirstOutput {
  const found = JSON.parse(line) as [unknown?] | { readonly failure: string }
  return Array.isArray(found) ? { output: found[0] } : found
}

async function loadJq(filter: string): Promise<JqWeb> {
  try {
    // Not by `import`: the package exports a promise, and a module with a `then` cannot be imported.
    return await (createRequire(import.meta.url)('jq-web') as Promise<JqWeb>)
  } catch (error) {
    const message = `the filter ${filter} needs the whole jq language: npm install jq-web`
    throw new PenstockError('PEER_MISSING', message, { path: 'field' }, error)
  }
}

/** What jq says, without its help for shells. */
function reasonOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string }
  const first = (stderr ?? message).split('\n')[0]!
  return first.replace(/^jq: (parse )?error: /, '').replace(/ \(Unix shell quoting issues\?\)/, '')
}
