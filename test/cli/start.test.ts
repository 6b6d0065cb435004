import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'penstock-start-'))
  writeFileSync(join(folder, 'corpus.jsonl'), '{"text":"a"}\n{"text":"b"}\n')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Modules that a command loads, in loading order. */
function loadedBy(...args: string[]): string[] {
  const list = join(folder, 'loaded.txt')
  const hooks = `import { appendFileSync } from 'node:fs'
    export function load(url, context, next) {
      appendFileSync(${JSON.stringify(list)}, url + '\\n')
      return next(url, context)
    }`
  const setUp = `import { register } from 'node:module'
    register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)}))`
  writeFileSync(list, '')
  const setUpUrl = `data:text/javascript,${encodeURIComponent(setUp)}`
  execFileSync(process.execPath, ['--import', setUpUrl, main, ...args], { cwd: folder })
  return readFileSync(list, 'utf8').split('\n')
}

describe('the startup of a command', () => {
  it('loads few files, and starts reading the source before loading the rest', () => {
    const files = loadedBy('index', 'corpus.jsonl', '--quiet').filter(url => url.startsWith('file:'))
    expect(files.length).toBeLessThan(20)
    const at = (part: string): number => files.findIndex(file => file.includes(part))
    expect(at('/shared/pass-')).toBeGreaterThan(at('/shared/start-'))
    expect(at('/shared/run-')).toBeGreaterThan(at('/shared/pass-'))
    expect(files.filter(file => file.includes('/node_modules/')).every(file => file.includes('/piscina/'))).toBe(true)
  })

  it('loads two files to print the version', () => {
    expect(loadedBy('--version').filter(url => url.startsWith('file:'))).toHaveLength(2)
  })
})
