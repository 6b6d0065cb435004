/** `npm run setup` installs only what is not installed yet. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { isInstalled } from '../scripts/installed.mjs'
import { temporaryFolder } from './stages/support.js'

type Packages = Readonly<Record<string, { version: string; integrity?: string; optional?: boolean }>>

const locked: Packages = {
  '': { version: '0.2.0' },
  'node_modules/yaml': { version: '2.9.1', integrity: 'sha512-a' },
  'node_modules/other-platform': { version: '1.0.0', integrity: 'sha512-b', optional: true },
}
const yaml = { 'node_modules/yaml': { version: '2.9.1', integrity: 'sha512-a' } }

function cloneWith(installed?: Packages): string {
  const root = temporaryFolder()
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify({ packages: locked }))
  if (installed === undefined) return root
  mkdirSync(join(root, 'node_modules'))
  writeFileSync(join(root, 'node_modules', '.package-lock.json'), JSON.stringify({ packages: installed }))
  return root
}

it('a tree that npm installed from the lock file is not installed again', () => {
  expect(isInstalled(cloneWith(yaml))).toBe(true)
})

it.each([
  ['there is no tree', undefined],
  ['a package is missing', {}],
  ['a package has another version', { 'node_modules/yaml': { version: '2.9.0', integrity: 'sha512-a' } }],
  ['a package has another content', { 'node_modules/yaml': { version: '2.9.1', integrity: 'sha512-c' } }],
])('packages are installed when %s', (_, installed?: Packages) => {
  expect(isInstalled(cloneWith(installed))).toBe(false)
})
