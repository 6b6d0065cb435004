/**
 * What README and docs say is true: their shell commands run, their definitions are in order, their links lead somewhere,
 * and the reference of stages is the one that the schemas give.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { stageReference } from '#src/cli/actions/describe'
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

const slug = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\w -]/g, '')
    .replaceAll(' ', '-')

/** Whether a link names a file that is there and, behind a #, one of its headings. */
function leadsSomewhere(page: string, link: string): boolean {
  const [path = '', heading] = link.split('#')
  const target = path === '' ? page : join(dirname(page), path)
  if (!existsSync(join(ROOT, target))) return false
  const headings =
    heading === undefined ? [] : [...textOf(target).matchAll(/^#+ (.*)$/gm)].map(match => slug(match[1]!))
  return heading === undefined || headings.includes(heading)
}

/** A folder in which the pages' commands find what they name: a corpus, and the page's own definitions. */
function workplace(page: string): string {
  const folder = temporaryFolder()
  const texts = Array.from({ length: 300 }, (_, line) => `The people of line ${line % 23} read and write, and so on.`)
  writeFileSync(join(folder, 'corpus.jsonl'), texts.map(text => `${JSON.stringify({ text })}\n`).join(''))
  writeFileSync(join(folder, 'more.jsonl'), '{"text":"more"}\n')
  for (const definition of blocks(page, 'yaml')) {
    // A first line such as `# train.yaml` tells the reader and us what to save it as.
    const told = /^# (\S+\.yaml)$/m.exec(definition)?.[1]
    const name = told ?? (definition.includes('pipelines:') ? 'definition.yaml' : 'index.yaml')
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

  it.runIf(blocks(page, 'yml').length > 0)('its manifests are YAML', () => {
    for (const manifest of blocks(page, 'yml')) expect(parse(manifest)).toHaveProperty('spec.template.spec')
  })

  it('its links lead somewhere', () => {
    const links = [...textOf(page).matchAll(/\]\(([^)\s]*)\)/g)].map(match => match[1]!)
    const broken = links.filter(link => !/^https?:/.test(link) && !leadsSomewhere(page, link))
    expect(broken).toEqual([])
  })
})

/** Lines without their indentation: an excerpt may stand further left than its source. */
const flat = (text: string): string =>
  text
    .split('\n')
    .map(line => line.trim())
    .join('\n')
    .trim()

it('docs/embedding.md shows code of examples, which are type-checked and run', () => {
  const examples = readdirSync(join(ROOT, 'examples')).map(name => flat(textOf(join('examples', name))))
  const shown = blocks('docs/embedding.md', 'ts').map(flat)
  expect(shown.length).toBeGreaterThan(0)
  expect(shown.filter(code => !examples.some(example => example.includes(code)))).toEqual([])
})

it('docs/troubleshooting.md tells every error code, and none that there is not', () => {
  const union = /export type ErrorCode =\n([\s\S]*?)\n\n/.exec(textOf('src/errors.ts'))![1]!
  const codes = [...union.matchAll(/\| '([A-Z0-9_]+)'/g)].map(match => match[1]!)
  const told = [...textOf('docs/troubleshooting.md').matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map(match => match[1]!)
  expect(codes.length).toBeGreaterThan(0)
  expect(told.toSorted()).toEqual(codes.toSorted())
})

it('every page is reached from docs/index.md and stands in the sidebar of the site', async () => {
  const links = [...textOf('docs/index.md').matchAll(/\]\(([^)]+\.md)\)/g)].map(match => match[1]!)
  const pages = readdirSync(join(ROOT, 'docs')).filter(name => name.endsWith('.md'))
  expect(['index.md', ...new Set(links)].toSorted()).toEqual(pages.toSorted())
  const config = textOf('docs/.vitepress/config.mjs')
  const listed = pages.filter(name => config.includes(`'/${name.replace(/(index)?\.md$/, '')}'`))
  expect(listed).toEqual(pages)
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
