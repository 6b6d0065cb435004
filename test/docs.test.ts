/**
 * Checks of README.md, docs/ and the other pages: shell commands run, definitions are valid, links resolve, and generated
 * tables match the code that they describe.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { stageReference } from '#src/cli/actions/describe'
import { checkDefinition, readDefinition } from '#src/pipelines/index'
import { MAIN, ROOT } from './cli/support.js'
import { temporaryFolder } from './stages/support.js'

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'SECURITY.md',
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

/** Whether a link names an existing file and, after a #, one of its headings. The site has only the pages of docs. */
function resolves(page: string, link: string): boolean {
  const [path = '', heading] = link.split('#')
  const target = path === '' ? page : join(dirname(page), path)
  if (!existsSync(join(ROOT, target)) || (dirname(page) === 'docs' && dirname(target) !== 'docs')) return false
  const headings =
    heading === undefined ? [] : [...textOf(target).matchAll(/^#+ (.*)$/gm)].map(match => slug(match[1]!))
  return heading === undefined || headings.includes(heading)
}

/** A folder with the files that a page's commands read: a corpus, and the definitions that the page shows. */
function folderFor(page: string): string {
  const folder = temporaryFolder()
  const texts = Array.from({ length: 300 }, (_, line) => `The people of line ${line % 23} read and write, and so on.`)
  writeFileSync(join(folder, 'corpus.jsonl'), texts.map(text => `${JSON.stringify({ text })}\n`).join(''))
  writeFileSync(join(folder, 'more.jsonl'), '{"text":"more"}\n')
  for (const definition of blocks(page, 'yaml')) {
    // A first line such as `# train.yaml` names the file, for readers and for this test.
    const named = /^# (\S+\.yaml)$/m.exec(definition)?.[1]
    const name = named ?? (definition.includes('pipelines:') ? 'definition.yaml' : 'index.yaml')
    if (!existsSync(join(folder, name))) writeFileSync(join(folder, name), definition)
  }
  return folder
}

describe.each(PAGES)('%s', page => {
  const commands = blocks(page, 'sh')

  it.runIf(commands.length > 0)('commands run', () => {
    const folder = folderFor(page)
    const script = commands.join('\n').replaceAll('npx penstock', `"${process.execPath}" "${MAIN}"`)
    execFileSync('sh', ['-euc', script], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  })

  it.runIf(blocks(page, 'yaml').length > 0)('definitions are valid', () => {
    for (const definition of blocks(page, 'yaml')) {
      expect(checkDefinition(readDefinition(definition, page)).length).toBeGreaterThan(0)
    }
  })

  it.runIf(blocks(page, 'yml').length > 0)('Kubernetes manifests are YAML', () => {
    for (const manifest of blocks(page, 'yml')) expect(parse(manifest)).toHaveProperty('spec.template.spec')
  })

  it('links resolve', () => {
    const links = [...textOf(page).matchAll(/\]\(([^)\s]*)\)/g)].map(match => match[1]!)
    const broken = links.filter(link => !/^https?:/.test(link) && !resolves(page, link))
    expect(broken).toEqual([])
  })
})

it('paths in the pages exist', () => {
  const missing = PAGES.flatMap(page =>
    [...textOf(page).matchAll(/`[^`]*?\b((?:src|test|scripts|assembly|torch|bench|examples|configs)\/[\w./-]+)/g)]
      .map(match => match[1]!)
      .filter(path => !path.includes('verb-noun') && !existsSync(join(ROOT, path)))
      .map(path => `${page}: ${path}`),
  )
  expect(missing).toEqual([])
})

/** Lines without indentation, because an excerpt may be indented less than its source. */
const flat = (text: string): string =>
  text
    .split('\n')
    .map(line => line.trim())
    .join('\n')
    .trim()

it('docs/embedding.md quotes the examples, which are type-checked and run', () => {
  const examples = readdirSync(join(ROOT, 'examples')).map(name => flat(textOf(join('examples', name))))
  const shown = blocks('docs/embedding.md', 'ts').map(flat)
  expect(shown.length).toBeGreaterThan(0)
  expect(shown.filter(code => !examples.some(example => example.includes(code)))).toEqual([])
})

it('docs/troubleshooting.md lists exactly the error codes', () => {
  const union = /export type ErrorCode =\n([\s\S]*?)\n\n/.exec(textOf('src/errors.ts'))![1]!
  const codes = [...union.matchAll(/\| '([A-Z0-9_]+)'/g)].map(match => match[1]!)
  const listed = [...textOf('docs/troubleshooting.md').matchAll(/^\| `([A-Z0-9_]+)` \|/gm)].map(match => match[1]!)
  expect(codes.length).toBeGreaterThan(0)
  expect(listed.toSorted()).toEqual(codes.toSorted())
})

it('docs/index.md and the sidebar of the site link to every page', async () => {
  const links = [...textOf('docs/index.md').matchAll(/\]\(([^)]+\.md)\)/g)].map(match => match[1]!)
  const pages = readdirSync(join(ROOT, 'docs')).filter(name => name.endsWith('.md'))
  expect(['index.md', ...new Set(links)].toSorted()).toEqual(pages.toSorted())
  const config = textOf('docs/.vitepress/config.mjs')
  const listed = pages.filter(name => config.includes(`'/${name.replace(/(index)?\.md$/, '')}'`))
  expect(listed).toEqual(pages)
})

it('docs/architecture.md lists exactly the folders of src', () => {
  const [tree] = /^src\/\n(?: .*\n)*/m.exec(textOf('docs/architecture.md'))!
  const parents: string[] = []
  const listed = [...tree.matchAll(/^((?: {2})+)([a-z-]+)\/ /gm)].map(([, indent, name]) => {
    parents.splice(indent!.length / 2 - 1, Number.POSITIVE_INFINITY, name!)
    return parents.join('/')
  })
  const entries = readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
  const folders = entries.filter(entry => entry.isDirectory()).map(entry => join(entry.parentPath, entry.name))
  expect(listed.toSorted()).toEqual(folders.map(folder => relative(join(ROOT, 'src'), folder)).toSorted())
})

it('docs/stages.md matches the option schemas', () => {
  expect(textOf('docs/stages.md')).toBe(stageReference())
})

it('every definition in configs is valid', () => {
  for (const name of readdirSync(join(ROOT, 'configs'))) {
    const file = join('configs', name)
    expect(checkDefinition(readDefinition(textOf(file), file)).length, file).toBeGreaterThan(0)
  }
})
