/**
 * Updates the table of guarantees in docs/reliability.md with current results. Runs the tests that check them and reads
 * the results of the long checks from their reports:
 *
 *   npm run chaos -- --json chaos.json
 *   node scripts/big-inputs.mjs --json big.json
 *   node scripts/fuzz.mjs 60 --json fuzz.json
 *   node scripts/power-cut.mjs --json power.json
 *   node scripts/reliability.mjs --chaos chaos.json --big big.json --fuzz fuzz.json --power power.json
 *
 * `--tests report.json` reads a vitest report instead of running the tests. Exit code 1 if a check failed. A guarantee
 * without a report or tests is marked "incomplete".
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const page = join(root, 'docs', 'reliability.md')
const BEGIN = '<!-- written by scripts/reliability.mjs -->'
const END = '<!-- end -->'

const { values: reports } = parseArgs({
  options: Object.fromEntries(['tests', 'chaos', 'big', 'fuzz', 'power'].map(name => [name, { type: 'string' }])),
})

const tests = (...files) => ({ files })
const chaos = cases => ({ report: 'chaos', command: 'npm run chaos', cases })
const hazard = /^(sources named|hard links|symbolic links|two namespaces|signals)/
const sweep = name => name !== 'kills at random' && name !== 'all' && !hazard.test(name)

/** @type {[id: string, promise: string, check: object][]} */
const PROMISES = [
  [
    'R1',
    'kill at any file system call of any command: no partial file under a final name, the next run writes the same bytes',
    { ...chaos(sweep), also: ['test/pipelines/kill.test.ts', 'test/pipelines/resume.test.ts'] },
  ],
  ['R2', 'kills at random moments, up to five in a row', chaos(name => name === 'kills at random')],
  [
    'R3',
    'power failure: completed outputs are intact; for others, the next run writes the same bytes',
    { report: 'power', command: 'node scripts/power-cut.mjs', cases: name => name !== 'all' },
  ],
  [
    'R5',
    'I/O errors, full disk, missing permission, too many open files: clear error, sources unchanged',
    chaos(sweep),
  ],
  [
    'R6',
    'bit flips, truncation and appended data are detected',
    tests('test/integrity', 'test/formats/checksum.test.ts'),
  ],
  ['R7', 'a complete checkpoint always exists', tests('test/training/trainer.test.ts', 'test/training/kill.test.ts')],
  ['R8', 'strict JSON and UTF-8, according to JSONTestSuite', tests('test/formats/json-scan.test.ts')],
  [
    'R9',
    'records in = documents + rejected + filtered',
    tests('test/stages/records.test.ts', 'test/pipelines/run.test.ts'),
  ],
  [
    'R10',
    'unusual line ends, and files that change while being read',
    tests('test/stages/read-file.test.ts', 'test/stages/read-lines.test.ts'),
  ],
  [
    'R11, R12',
    'bounded memory for a line of 1 GB, 10 GB of NULs, and 10 million lines',
    { report: 'big', command: 'node scripts/big-inputs.mjs' },
  ],
  [
    'R13',
    'damaged files of every format: correct data or a typed error',
    { report: 'fuzz', command: 'node scripts/fuzz.mjs', also: ['test/security/fuzz.test.ts'] },
  ],
  [
    'R14',
    'an edited source, another tokenizer and mixed token widths are rejected',
    tests('test/integrity/verify.test.ts', 'test/stages/stream/reorder.test.ts'),
  ],
  [
    'R16',
    'same token ids as the Rust library on adversarial text',
    tests('test/tokenizer/rust.test.ts', 'test/tokenizer/kinds.test.ts'),
  ],
  [
    'R18, R19',
    'bounded time for hostile texts and tokenizer files',
    tests(
      'test/tokenizer/hostile.test.ts',
      'test/workers/tokenizer/hostile-tokenizer.test.ts',
      'test/workers/tokenizer/tokenizer-thread.test.ts',
      'test/cli/hostile-tokenizer.test.ts',
    ),
  ],
  ['R20', 'crafted pickles are rejected without executing anything', tests('test/formats/pickle.test.ts')],
  ['R21', 'hostile YAML is rejected', tests('test/pipelines/definition.test.ts', 'test/modalities/yaml/yaml.test.ts')],
  [
    'R22, R24',
    'no path traversal, no source used as output, no leaked secrets',
    {
      ...chaos(name => /^(sources named|hard links|symbolic links)/.test(name)),
      also: ['test/security/promises.test.ts'],
    },
  ],
  ['R23', 'the dashboard rejects other origins', tests('test/monitoring/dashboard/dashboard.test.ts')],
  [
    'R25',
    'recovery from workers that throw, exit, run out of memory or loop',
    tests('test/workers/worker-deaths.test.ts', 'test/workers/worker-pool.test.ts'),
  ],
  [
    'R26',
    'orderly, resumable stop on signals and broken pipes',
    { ...chaos(name => name.startsWith('signals')), also: ['test/cli/training.test.ts', 'test/cli/commands.test.ts'] },
  ],
  ['R27', 'bytes in flight are bounded', tests('test/stages/flow.test.ts')],
  [
    'R28',
    'two concurrent runs of the same job, also in two containers or on two machines',
    { ...chaos(name => name === 'two namespaces'), also: ['test/files/output-lock.test.ts'] },
  ],
  ['R29', 'identical output for any number of workers and batch size', tests('test/pipelines/fuse.test.ts')],
  [
    'R30',
    'killed and resumed training: bit-identical losses and weights',
    tests('test/cli/training.test.ts', 'test/training/kill.test.ts'),
  ],
  ['R31', 'sample order independent of the number of ranks', tests('test/sampling/order.test.ts')],
  ['R32', 'sinks that fail, hang or fill the disk do not affect the run', tests('test/monitoring/run.test.ts')],
]

const byFile = testCounts([...new Set(PROMISES.flatMap(([, , check]) => check.files ?? check.also ?? []))])
const rows = PROMISES.map(([id, promise, check]) => ({ id, promise, ...countsOf(check) }))
writeTable(rows)
if (rows.some(({ failed }) => failed > 0)) process.exitCode = 1

/** Numbers of executed and failed tests per test file. */
function testCounts(paths) {
  const { testResults } = JSON.parse(
    reports.tests === undefined ? runTests(paths) : readFileSync(reports.tests, 'utf8'),
  )
  return testResults.map(({ name, assertionResults, status }) => ({
    file: name.slice(name.lastIndexOf('/test/') + 1),
    tried: assertionResults.filter(result => result.status === 'passed' || result.status === 'failed').length,
    failed: assertionResults.filter(result => result.status === 'failed').length || (status === 'failed' ? 1 : 0),
  }))
}

function runTests(paths) {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-reliability-'))
  const report = join(folder, 'report.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  spawnSync('npx', ['vitest', 'run', ...paths, ...reporters], { cwd: root, stdio: 'inherit' })
  const text = readFileSync(report, 'utf8')
  rmSync(folder, { recursive: true })
  return text
}

function countsOf({ files = [], also = [], report, command, cases = () => true }) {
  const ofTests = byFile.filter(({ file }) => [...files, ...also].some(path => file.startsWith(path)))
  const given = report === undefined ? undefined : reports[report]
  const ofReport = given === undefined ? [] : JSON.parse(readFileSync(given, 'utf8')).filter(({ name }) => cases(name))
  const counted = [...ofTests, ...ofReport]
  const commands = [
    command,
    ...(files.length + also.length > 0 ? [`npx vitest run ${[...files, ...also].join(' ')}`] : []),
  ]
  return {
    commands: commands.filter(Boolean),
    tried: counted.reduce((sum, { tried }) => sum + tried, 0),
    failed: counted.reduce((sum, { failed }) => sum + failed, 0),
    isComplete: counted.length > 0 && (report === undefined || given !== undefined),
  }
}

function writeTable(rows) {
  const lines = rows.map(({ id, promise, commands, tried, failed, isComplete }) => {
    const result = !isComplete ? 'incomplete' : failed === 0 ? 'passed' : `**${failed} failed**`
    return `| ${id} | ${promise} | ${commands.map(command => `\`${command}\``).join('; ')} | ${tried} | ${result} |`
  })
  const table = ['| | guarantee | check | tried | result |', '| --- | --- | --- | --- | --- |', ...lines].join('\n')
  const text = readFileSync(page, 'utf8')
  const [before, rest] = [text.slice(0, text.indexOf(BEGIN)), text.slice(text.indexOf(END))]
  writeFileSync(page, `${before}${BEGIN}\n\n${table}\n\n${rest}`)
}
