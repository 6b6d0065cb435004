import { spawnSync } from 'node:child_process'
import { existsSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../../stages/support.js'

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..')
const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)

function penstock(args: string[], stdio: { stdout?: string; stderr?: string } = {}) {
  const target = (path: string | undefined) => (path === undefined ? 'pipe' : openSync(path, 'w'))
  return spawnSync(process.execPath, [join(root, 'dist/cli/main.js'), ...args], {
    encoding: 'utf8',
    stdio: ['ignore', target(stdio.stdout), target(stdio.stderr)],
  })
}

describe('control characters in file names', () => {
  const name = 'a\u001b[31m\u009b2J\r\nb\u202e.jsonl'
  // biome-ignore lint/suspicious/noControlCharactersInRegex: none of these may be printed
  const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202e]/

  it('are escaped in errors, on one line', () => {
    const { stderr } = penstock(['index', at(name)])
    expect(stderr).toContain('a\\u001b[31m\\u009b2J\\u000d\\u000ab\\u202e.jsonl: ')
    expect(stderr).not.toMatch(CONTROLS)
  })

  it('are escaped in results and notes', () => {
    writeFileSync(at(name), '{"text":"x"}\n')
    const index = at(name.replace('.jsonl', '.idx'))
    expect(penstock(['index', at(name)]).status).toBe(0)
    for (const args of [
      ['index', at(name), '--if-exists', 'skip'],
      ['inspect', index],
      ['inspect', index, '--json'],
      ['verify', index],
      ['verify', index, '--json'],
    ]) {
      const { stdout, stderr } = penstock(args)
      expect(stdout + stderr).not.toMatch(CONTROLS)
    }
  })

  it('cannot be printed past this module', () => {
    const sources = readdirSync(join(root, 'src/cli'), { recursive: true, encoding: 'utf8' }).filter(
      file => file.endsWith('.ts') && !file.endsWith('print.ts'),
    )
    const direct = sources.filter(file =>
      /std(out|err)\.write|console\./.test(readFileSync(join(root, 'src/cli', file), 'utf8')),
    )
    expect(direct).toEqual([])
  })
})

describe.runIf(existsSync('/dev/full'))('a full disk', () => {
  it('for messages does not change the result of a command', () => {
    writeFileSync(at('s.jsonl'), '{"text":"x"}\n'.repeat(10))
    expect(penstock(['index', at('s.jsonl')], { stderr: '/dev/full' }).status).toBe(0)
    expect(existsSync(at('s.idx'))).toBe(true)
    expect(penstock(['index', at('none.jsonl')], { stderr: '/dev/full' }).status).toBe(1)
  })

  it('for results is an error', () => {
    const { status, stderr } = penstock(['stages'], { stdout: '/dev/full' })
    expect(status).toBe(1)
    expect(stderr).toMatch(/^penstock: standard output: .*ENOSPC.*\[FILE_UNWRITABLE\]$/m)
  })
})
