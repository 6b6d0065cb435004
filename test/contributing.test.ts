/** The example of CONTRIBUTING.md compiles and satisfies the contract of stages. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import type { NamedStage } from '#src/stages/stream/stage-entry'
import { ROOT } from './cli/support.js'
import { testContract } from './stages/contract.js'

// Inside the clone, where Node finds #src and the packages; data/ is never committed.
mkdirSync(join(ROOT, 'data'), { recursive: true })
const folder = mkdtempSync(join(ROOT, 'data', 'contributing-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const [, code] = /^```ts\n([\s\S]*?)^```/m.exec(readFileSync(join(ROOT, 'CONTRIBUTING.md'), 'utf8'))!
const file = join(folder, 'drop-short.ts')
const imports = /'(\.\.?)\/([a-z/-]+)\.js'/g
writeFileSync(
  file,
  code!.replaceAll(imports, (_, base, path) => `'#src/${base === '.' ? 'stages/' : ''}${path}'`),
)

it('type-checks', () => {
  const config = { extends: '../../tsconfig.test.json', compilerOptions: { rootDir: '../..' }, include: ['*.ts'] }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const compiler = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  expect(spawnSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' })).toMatchObject({
    stdout: '',
    status: 0,
  })
})

const { dropShortStage } = (await import(file)) as { dropShortStage: NamedStage }
testContract({ [dropShortStage.name]: dropShortStage }, { 'drop-short': () => ({ min_bytes: 60 }) })
