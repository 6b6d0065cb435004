// Sweeps: compares the configurations that both systems generate from one file, and those that remain to be run.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolations of configurations
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'

const SWEEPS = {
  numbers: 'sweep:\n  lr: [1e-4, 1.0e-4, 0.5, 12]\n  flag: [yes, "yes", ~, 0x1F]\nsettings:\n  lr: ${sweep.lr}\n',
  nested:
    'sweep:\n  model:\n    layers: [2, 4]\n    sizes:\n      - [128, 256]\n      - {a: 1, b: 2.0}\n  seed: 7\nother: {k: [], m: {}}\n',
  texts: `sweep:\n  prompt: ["${'long text '.repeat(12)}: a", "it's", "größe", "a\\nb", " x ", "- a", "#1"]\nsettings:\n  paths: [a/b, "c: d"]\n`,
}

export function sweepChecks({ root, folder: parent }) {
  const folder = join(parent, 'sweeps')
  mkdirSync(folder)
  const penstock = args => spawnSync(process.execPath, [join(root, 'dist', 'cli', 'main.js'), 'benchmark', ...args])
  const prepared = Object.entries(SWEEPS).map(([name, text]) => {
    const path = join(folder, `${name}.yaml`)
    writeFileSync(path, text)
    const [ours, theirs] = ['ours', 'reference'].map(side => join(folder, `${name}.${side}`))
    const args = output => [
      ...['prepare_sweep_configs', '--sweep_config_path', path, '--output_dir', output, '--world_sizes', '1,4'],
    ]
    return {
      name: `sweep of ${name}`,
      job: { do: 'command', args: ['benchmark', ...args(theirs)] },
      ours: () => {
        penstock(args(ours))
        return [timelessFiles(ours), timelessFiles(theirs)]
      },
    }
  })
  return [...prepared, ...listingChecks(folder, penstock)]
}

/** Content by file name, without timestamps. */
function timelessFiles(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  return Object.fromEntries(
    files
      .map(entry => join(entry.parentPath ?? entry.path, entry.name))
      .map(path => [
        relative(folder, path).replaceAll(/\d{4}-\d\d-\d\d__\d\d-\d\d-\d\d/g, 'TIME'),
        readFileSync(path, 'utf8'),
      ])
      .sort(),
  )
}

function listingChecks(folder, penstock) {
  const root = join(folder, 'runs')
  const run = (name, files = {}) => {
    const path = join(root, 'sweep', name)
    mkdirSync(path, { recursive: true })
    for (const [file, text] of Object.entries({ 'c.yaml': 'a: 1\n', ...files })) writeFileSync(join(path, file), text)
  }
  const failed = type => ({ 'error_logs_host_0.log': JSON.stringify({ error: { type } }) })
  run('2/aa_2026-01-01__00-00-00', { 'evaluation_results.jsonl': '{}\n{}\n' })
  run('2/bb_2026-01-01__00-00-00', { 'evaluation_results.jsonl': '{}\n' })
  run('2/bb_2026-01-02__00-00-00')
  run('2/cc_2026-01-01__00-00-00', failed('OutOfMemoryError'))
  run('4/aa_2026-01-01__00-00-00', failed('ValueError'))
  run('4/dd_2026-01-01__00-00-00', { 'error_logs_host_1.log': 'no JSON', 'c.resolved.yaml': 'a: 1\n' })
  const variants = {
    all: [],
    'with 4 ranks': ['--world_size', '4'],
    'without out-of-memory failures': ['--skip_exception_types', 'OutOfMemoryError,KeyError'],
    'without broken logs': ['--skip_exception_types', 'ErrorFileParsingError'],
  }
  return Object.entries(variants).map(([name, more]) => {
    const [ours, theirs] = ['ours', 'reference'].map(side => join(folder, `${name}.${side}.txt`))
    const args = list => [
      ...['list_remaining_runs', '--exp_root', root, '--expected_steps', '2', '--file_list_path', list, ...more],
    ]
    return {
      name: `remaining runs: ${name}`,
      job: { do: 'command', args: ['benchmark', ...args(theirs)] },
      ours: () => {
        penstock(args(ours))
        return [lines(ours), lines(theirs)]
      },
    }
  })
}

const lines = path =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map(line => realpathSync(line))
    .sort()
