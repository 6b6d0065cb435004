/**
 * What README and docs say is true: their shell commands run, their definitions are in order, their links lead somewhere,
 * and the reference of stages is the one that the schemas give.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { stageReference } from '#src/cli/describe-stages'
import { checkDefinition, readDefinition } from '#src/pipelines/index'
import { MAIN, ROOT } from './cli/support.js'
import { temporaryFolder } from './stages/support.js'

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(ROOT, 'docs')).map(name => join('docs', name)),
].filter(name => name.endsWith('.md'))
const textOf = (page: string): string => readFileSync(join(ROOT, page), 'utf8')
const blocks = (page: string, language: string): string[] =>
  [...textOf(page).matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(match => match[1]!)

/** A folder in which the pages' commands find what they name: a corpus, and the page's own definitions. */
function workplace(page: string): string {
  const folder = temporaryFolder()
  const texts = Array.from({ length: 300 }, (_, line) => `The people of line ${line % 23} read and write, and so on.`)
  writeFileSync(join(folder, 'corpus.jsonl'), texts.map(text => `${JSON.stringify({ text })}\n`).join(''))
  writeFileSync(join(folder, 'more.jsonl'), '{"text":"more"}\n')
  for (const definition of blocks(page, 'yaml')) {
    const name = definition.includes('pipelines:') ? 'definition.yaml' : 'index.yaml'
    if (!existsSync(join(folder, name))) writeFileSync(join(folder, name), definition)
  }
  return folder
}

describe.each(PAGES)('%s', page => {
  const commands = blocks(page, 'sh')

  it.runIf(commands.length > 0)('its commands run', () => {
    const folder = workplace(page)
    const script = commands.join('\n').replaceAll('npx penstock', `"${process.execPath}" "${MAIN}"`)
    execFileSync('sh', ['-euc', script], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  })

  it.runIf(blocks(page, 'yaml').length > 0)('its definitions are in order', () => {
    for (const definition of blocks(page, 'yaml')) {
      expect(checkDefinition(readDefinition(definition, page)).length).toBeGreaterThan(0)
    }
  })

  it('its links lead somewhere', () => {
    const links = [...textOf(page).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map(match => match[1]!)
    const broken = links.filter(link => !/^https?:/.test(link) && !existsSync(join(ROOT, dirname(page), link)))
    expect(broken).toEqual([])
  })
})

it('docs/stages.md is what the schemas give', () => {
  expect(textOf('docs/stages.md')).toBe(stageReference())
})

it('every definition in configs is in order', () => {
  for (const name of readdirSync(join(ROOT, 'configs'))) {
    const file = join('configs', name)
    expect(checkDefinition(readDefinition(textOf(file), file)).length, file).toBeGreaterThan(0)
  }
})
