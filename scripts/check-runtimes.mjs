// Runs each line of "Module systems, bundlers and runtimes" in docs/embedding.md: packs this package, installs it with Vite, Deno
// and Bun into a temporary folder, and compares the ids of a text with those of Node. Takes about a minute and a npm registry.
//
// node scripts/check-runtimes.mjs
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'penstock-runtimes-'))
const bin = name => join(folder, 'node_modules', '.bin', name)
const run = (command, args, cwd = folder) => execFileSync(command, args, { cwd, encoding: 'utf8' })
const write = (name, text) => writeFileSync(join(folder, name), text)

const TEXT = 'Grüße, two words and 12 numbers'
/** A program that prints the ids and the engine; `wasm` is an expression for the compiled kernel. */
const program = (specifier, json, wasm, before = '') => `
import { compileKernel, loadTokenizer } from '${specifier}'
${before}
const tokenizer = loadTokenizer(${json}, { wasm: ${wasm} })
console.log(JSON.stringify({ ids: [...tokenizer.encode(${JSON.stringify(TEXT)})], fast: tokenizer.engineInfo.fast }))
`
const fromFiles = "compileKernel(readFileSync('node_modules/penstock-ml/dist/tokenizer/kernel.wasm'))"
const readFiles = "import { readFileSync } from 'node:fs'"
const json = "readFileSync('tokenizer.json', 'utf8')"

const checks = {
  CommonJS: () => {
    write('check.cjs', "console.log(typeof require('penstock-ml/stages').readFile)")
    return run('node', ['check.cjs']).trim() === 'function'
  },
  Vite: () => {
    const kernel = "import url from 'penstock-ml/kernel.wasm?url'\nimport json from './tokenizer.json?raw'"
    const wasm = 'await WebAssembly.compileStreaming(fetch(url))'
    write('main.js', program('penstock-ml/tokenizer', 'json', wasm, kernel))
    write('index.html', '<script type="module" src="./main.js"></script>')
    run(bin('vite'), ['build', '--logLevel', 'error'])
    const built = readdirSync(join(folder, 'dist', 'assets')).find(name => name.endsWith('.js'))
    // The page's server, in one function: Node has all else that the page needs.
    write(
      'page.mjs',
      `import { readFileSync } from 'node:fs'
globalThis.document = { createElement: () => ({ relList: { supports: () => true } }), querySelectorAll: () => [] }
globalThis.fetch = async path => new Response(readFileSync('dist' + path), { headers: { 'content-type': 'application/wasm' } })
await import('./dist/assets/${built}')`,
    )
    return hasSameIds(run('node', ['page.mjs']))
  },
  Deno: () => {
    write('deno.json', '{ "nodeModulesDir": "manual" }')
    write('deno.mjs', program('npm:penstock-ml/tokenizer', json, fromFiles, readFiles))
    return hasSameIds(run(bin('deno'), ['run', '--allow-read', 'deno.mjs']))
  },
  Bun: () => {
    write('bun.mjs', program('penstock-ml/tokenizer', json, fromFiles, readFiles))
    return hasSameIds(run(bin('bun'), ['bun.mjs']))
  },
}

let expected
const hasSameIds = output => {
  if (output === expected) return true
  console.error(`expected ${expected}found ${output}`)
  return false
}

try {
  const archive = run('npm', ['pack', '--silent', '--pack-destination', folder], root).trim()
  write('package.json', '{ "private": true, "type": "module" }')
  const packages = [`./${archive}`, 'vite@8', 'deno@2', 'bun@1']
  run('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', ...packages])
  write('corpus.jsonl', `${JSON.stringify({ text: `${TEXT} `.repeat(20) })}\n`)
  run(bin('penstock'), ['train-tokenizer', 'corpus.jsonl', '--vocab-size', '280'])
  write('node.mjs', program('penstock-ml/tokenizer', json, fromFiles, readFiles))
  expected = run('node', ['node.mjs'])
  console.log(`Node     ${expected.trim()}`)
  for (const [name, check] of Object.entries(checks)) {
    const passes = check()
    if (!passes) process.exitCode = 1
    console.log(`${name.padEnd(8)} ${passes ? 'passes' : 'FAILS'}`)
  }
} finally {
  rmSync(folder, { recursive: true })
}
