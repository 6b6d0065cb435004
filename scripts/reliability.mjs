/**
 * Writes the table of promises in docs/reliability.md from what their checks say now. Runs the tests that hold them, and
 * takes the counts of the long checks from their reports:
 *
 *   npm run chaos -- --json chaos.json
 *   node scripts/big-inputs.mjs --json big.json
 *   node scripts/fuzz.mjs 60 --json fuzz.json
 *   node scripts/power-cut.mjs --json power.json
 *   node scripts/reliability.mjs --chaos chaos.json --big big.json --fuzz fuzz.json --power power.json
 *
 * `--tests report.json` takes a report of vitest's in place of running them. Exit code 1 when a check failed; a promise
 * whose report or tests are not there stands as not tried in full.
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
const sweep = name => name !== 'kills at random' && name !== 'all'

/** @type {[id: string, promise: string, check: object][]} */
const PROMISES = [
  [
    'R1',
    'a kill at any file call of any tool: nothing partial under a final name, the next run gives the same bytes',
    { ...chaos(sweep), also: ['test/pipelines/kill.test.ts', 'test/pipelines/resume.test.ts'] },
  ],
  ['R2', 'kills at random moments, up to five in a row', chaos(name => name === 'kills at random')],
  [
    'R3',
    'a power cut: what was said to be done is whole, and of anything else the next run gives the same bytes',
    { report: 'power', command: 'node scripts/power-cut.mjs', cases: name => name !== 'all' },
  ],
  ['R5', 'a failing or full disk, no permission, too many open files: a clear error, sources untouched', chaos(sweep)],
  ['R6', 'a flipped bit, a cut, an extension are found', tests('test/integrity', 'test/formats/checksum.test.ts')],
  ['R7', 'one whole checkpoint is always there', tests('test/training/trainer.test.ts', 'test/training/kill.test.ts')],
  ['R8', 'strict JSON and UTF-8, as JSONTestSuite has it', tests('test/formats/json-scan.test.ts')],
  [
    'R9',
    'records in = documents + rejects + filtered',
    tests('test/stages/records.test.ts', 'test/pipelines/run.test.ts'),
  ],
  [
    'R10',
    'odd line ends, and files that change while they are read',
    tests('test/stages/read-file.test.ts', 'test/stages/read-lines.test.ts'),
  ],
  [
    'R11, R12',
    'a line of 1 GB, 10 GB of NULs, 10 million lines, in bounded memory',
    { report: 'big', command: 'node scripts/big-inputs.mjs' },
  ],
  [
    'R13',
    'damaged files of every kind: right data or a typed error',
    { report: 'fuzz', command: 'node scripts/fuzz.mjs', also: ['test/security/fuzz.test.ts'] },
  ],
  [
    'R14',
    'an edited source, another tokenizer, mixed widths are refused',
    tests('test/integrity/verify.test.ts', 'test/stages/stream/reorder.test.ts'),
  ],
  [
    'R16',
    'the ids of the Rust library on adversarial text',
    tests('test/tokenizer/rust.test.ts', 'test/tokenizer/kinds.test.ts'),
  ],
  [
    'R18, R19',
    'hostile texts and tokenizer files take bounded time',
    tests(
      'test/tokenizer/hostile.test.ts',
      'test/workers/tokenizer/hostile-tokenizer.test.ts',
      'test/workers/tokenizer/tokenizer-thread.test.ts',
      'test/cli/hostile-tokenizer.test.ts',
    ),
  ],
  ['R20', 'crafted pickles are refused, and run nothing', tests('test/formats/pickle.test.ts')],
  ['R21', 'hostile YAML is refused', tests('test/pipelines/definition.test.ts', 'test/modalities/yaml/yaml.test.ts')],
  [
    'R22, R24',
    'no path leads out, no source is an output, no secret gets out',
    tests('test/security/promises.test.ts'),
  ],
  ['R23', "the page is its own origin's only", tests('test/monitoring/dashboard/dashboard.test.ts')],
  [
    'R25',
    'workers that throw, end, run out of memory or loop',
    tests('test/workers/worker-deaths.test.ts', 'test/workers/worker-pool.test.ts'),
  ],
  [
    'R26',
    'signals, broken pipes: a stop in order, and on from there',
    tests('test/cli/training.test.ts', 'test/cli/commands.test.ts'),
  ],
  ['R27', 'bytes in flight stay within the budget', tests('test/stages/flow.test.ts')],
  ['R28', 'the same job twice at once', tests('test/files/output-file.test.ts')],
  ['R29', 'any number of workers and batch size: one hash', tests('test/pipelines/fuse.test.ts')],
  [
    'R30',
    'training killed and resumed: every loss and the weights bit for bit',
    tests('test/cli/training.test.ts', 'test/training/kill.test.ts'),
  ],
  ['R31', 'an order of samples that does not depend on the world', tests('test/sampling/order.test.ts')],
  ['R32', 'sinks that refuse, hang or fill the disk leave the run alone', tests('test/monitoring/run.test.ts')],
]

const byFile = testCounts([...new Set(PROMISES.flatMap(([, , check]) => check.files ?? check.also ?? []))])
const rows = PROMISES.map(([id, promise, check]) => ({ id, promise, ...countsOf(check) }))
writeTable(rows)
if (rows.some(({ failed }) => failed > 0)) process.exitCode = 1

/** Passed and failed tests of each test file. */
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
    isWhole: counted.length > 0 && (report === undefined || given !== undefined),
  }
}

function writeTable(rows) {
  const lines = rows.map(({ id, promise, commands, tried, failed, isWhole }) => {
    const result = !isWhole ? 'not tried in full' : failed === 0 ? 'held' : `**${failed} failed**`
    return `| ${id} | ${promise} | ${commands.map(command => `\`${command}\``).join('; ')} | ${tried} | ${result} |`
  })
  const table = ['| | promise | check | tried | result |', '| --- | --- | --- | --- | --- |', ...lines].join('\n')
  const text = readFileSync(page, 'utf8')
  const [before, rest] = [text.slice(0, text.indexOf(BEGIN)), text.slice(text.indexOf(END))]
  writeFileSync(page, `${before}${BEGIN}\n\n${table}\n\n${rest}`)
}
