// Builds a folder that installs and checks Penstock on a machine without internet access: Node.js, the package with its
// production dependencies, and a check of the torch engine. It needs Python with torch >= 2.6 there. See docs/gpu-kit.md.
//
// node scripts/gpu-kit.mjs [folder] [--node FILE]     default: gpu-kit, with Node.js from its npm package
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const MAX_BYTES = 60e6
const root = fileURLToPath(new URL('..', import.meta.url))
const { values, positionals } = parseArgs({ options: { node: { type: 'string' } }, allowPositionals: true })
const folder = positionals[0] ?? 'gpu-kit'

/** Files of a package that no program loads: sources, types, tests, source maps, pages. Licences stay. */
const isUnused = path =>
  !/licen[cs]e/i.test(path) && /\.(map|d\.ts|d\.mts|d\.cts|ts|md)$|_test\.js$|\/(src|test|tests|benchmark)\//.test(path)

/** Folders of the installed packages that the program needs, from the list that npm keeps of them. */
function productionPackages() {
  const { packages } = JSON.parse(readFileSync(join(root, 'node_modules/.package-lock.json'), 'utf8'))
  return Object.entries(packages).flatMap(([path, { dev }]) => (dev ? [] : [path]))
}

/** Extracts Node's binary from the npm package for this platform. */
function nodeFromNpm(temporary) {
  const name = `node-${process.platform}-${process.arch}`
  const [{ filename }] = JSON.parse(
    execFileSync('npm', ['pack', `${name}@${process.versions.node}`, '--json', '--pack-destination', temporary], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  )
  execFileSync('tar', ['-xzf', join(temporary, filename), '-C', temporary, 'package/bin/node'])
  return join(temporary, 'package/bin/node')
}

function copyPackage(to) {
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const listed = ['package.json', ...files.map(pattern => pattern.replace(/\/\*.*$/, ''))]
  const isShipped = path => !/\.(map|d\.ts)$|__pycache__/.test(path)
  for (const name of listed) cpSync(join(root, name), join(to, name), { recursive: true, filter: isShipped })
  for (const path of productionPackages()) {
    const isOwn = source => !source.slice(join(root, path).length).includes('node_modules')
    const filter = source => isOwn(source) && !isUnused(source.slice(root.length))
    cpSync(join(root, path), join(to, path), { recursive: true, filter })
  }
}

const temporary = mkdtempSync(join(tmpdir(), 'penstock-kit-'))
try {
  const staged = join(temporary, 'staged')
  mkdirSync(join(staged, 'package'), { recursive: true })
  copyFileSync(values.node ?? nodeFromNpm(temporary), join(staged, 'node'))
  chmodSync(join(staged, 'node'), 0o755)
  copyPackage(join(staged, 'package'))
  mkdirSync(folder, { recursive: true })
  for (const name of readdirSync(join(root, 'scripts/gpu-kit'))) {
    if (name !== '__pycache__') copyFileSync(join(root, 'scripts/gpu-kit', name), join(folder, name))
  }
  execFileSync('tar', ['-czf', join(folder, 'penstock.tar.gz'), '-C', staged, 'node', 'package'])
} finally {
  rmSync(temporary, { recursive: true })
}
const size = readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
if (size > MAX_BYTES) throw new Error(`${folder} has ${size} bytes, more than ${MAX_BYTES}`)
console.log(`${folder}: ${(size / 1e6).toFixed(1)} MB; copy it to the machine and run ${join(folder, 'check')}`)
