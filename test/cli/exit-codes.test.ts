/** Exit codes of every command: 0 success, 1 failure, 2 invalid configuration or arguments. Signals: see live and training. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { type Outcome, penstock } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)

type Row = readonly [args: readonly string[], code: number, shown?: string]

const pipeline = 'stages: [{ read-file: { path: a.jsonl } }, read-lines, { write-index: { path: run.idx } }]\n'

beforeAll(async () => {
  writeFileSync(at('a.jsonl'), '{"text":"one line"}\n{"text":"another line"}\n')
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  writeFileSync(at('good.yaml'), pipeline)
  writeFileSync(at('planned.yaml'), pipeline.replace('run.idx', 'planned.idx'))
  writeFileSync(at('wrong.yaml'), pipeline.replace('path: a', 'pth: a'))
  writeFileSync(at('damaged.pbin'), 'damaged')
  mkdirSync(at('empty'))
  const args = ['pack', 'a.jsonl', '-t', 'tokenizer.json', '--end-of-document', END, '--quiet']
  expect(await penstock(args, folder)).toMatchObject({ code: 0 })
})

/** Several rows at once: each is a process that mostly starts. */
async function outcomes(rows: readonly Row[]): Promise<[Row, Outcome][]> {
  const found: [Row, Outcome][] = []
  for (let start = 0; start < rows.length; start += 4) {
    const some = rows.slice(start, start + 4)
    const results = await Promise.all(some.map(([args]) => penstock(args, folder)))
    found.push(...some.map((row, index): [Row, Outcome] => [row, results[index]!]))
  }
  return found
}

const rows: readonly Row[] = [
  [['--version'], 0],
  [['no-such-command'], 2, '(run penstock --help for the commands)'],
  [['quickstart', '--steps', 'many'], 2],
  [['init', 'a.jsonl', '-o', 'init.yaml'], 0],
  [['init', 'none.jsonl'], 1, 'FILE_MISSING'],
  [['init', '-'], 2, 'ARGUMENT_INVALID'],
  [['run', 'good.yaml'], 0],
  [['run', 'wrong.yaml'], 2, 'CONFIG_INVALID'],
  [['run', 'none.yaml'], 1, 'FILE_MISSING'],
  [['index', 'a.jsonl', '-o', 'index.idx'], 0],
  [['index', 'none.jsonl'], 1, 'FILE_MISSING'],
  [['index', '-'], 2, 'pass -o FILE'],
  [['pack', 'a.jsonl'], 2, '(run penstock pack --help for the options)'],
  [['pack', '-', '-t', 'tokenizer.json'], 2, 'pass -o FILE'],
  [['pack', '-', '-t', 'tokenizer.json', '-o', 'b.pbin', '--index'], 2, 'pass --index FILE'],
  [['pack', 'none.jsonl', '-t', 'tokenizer.json'], 1, 'FILE_MISSING'],
  [['merge', 'a.pbin', '-o', 'merged.pbin'], 0],
  [['merge', 'none.pbin', '-o', 'b.pbin'], 1],
  [['shuffle', 'a.pbin', '-o', 'shuffled.pbin'], 0],
  [['shuffle', 'none.pbin', '-o', 'b.pbin'], 1],
  [['chunk', 'a.pbin', '-o', 'chunk.pbin', '--chunk', '0', '--of', '1'], 0],
  [['chunk', 'a.pbin', '-o', 'b.pbin', '--chunk', '3', '--of', '2'], 2],
  [['pack-samples', 'a.pbin', '-o', 'a.pack', '--sequence-length', '16'], 0],
  [['pack-samples', 'none.pbin', '-o', 'b.pack', '--sequence-length', '16'], 1],
  [['filter', 'a.pbin', '-o', 'filtered.pbin', '--min-tokens', '1'], 0],
  [['filter', 'a.pbin', '-o', 'b.pbin'], 2, 'no filter given'],
  [['pack', 'a.jsonl', '-t', 'tokenizer.json', '-o', 'parts.pbin', '--shards', '2'], 0],
  [['pack', 'a.jsonl', '-t', 'tokenizer.json', '--shards', '0'], 2, 'positive integer'],
  [['pack', 'a.jsonl', '-t', 'tokenizer.json', '--shard-folder', 'b'], 2, 'without --shards'],
  [['shards', 'plan', 'planned.yaml', '--shards', '1', '--shard-folder', 'planned.shards'], 0],
  [['shards', 'plan', 'good.yaml'], 2, '--shards'],
  [['shards', 'run', 'empty'], 1, 'penstock shards plan'],
  [['shards', 'run', 'planned.shards', '--shard', '0/0'], 2, 'such as 3/12'],
  [['shards', 'status', 'planned.shards'], 0],
  [['shards', 'status', 'empty'], 1, 'FILE_MISSING'],
  [['shards', 'merge', 'planned.shards'], 1, '1 of 1 shards are not complete'],
  [['launch', 'slurm', 'parts.pbin.shards', '--dry-run'], 0],
  [['launch', 'slurm', 'planned.yaml', '--dry-run'], 2, '--shards COUNT'],
  [['launch', 'ray', 'parts.pbin.shards', '--address', 'http://127.0.0.1:9'], 1, 'Ray at http://127.0.0.1:9'],
  [['launch', 'ray', 'parts.pbin.shards'], 2, '--address'],
  [['launch', 'kubernetes', 'parts.pbin.shards', '--image', 'node', '--volume', 'work:/', '--dry-run'], 0],
  [
    ['launch', 'kubernetes', 'parts.pbin.shards', '--image', 'node', '--volume', 'work:/none'],
    2,
    '--volume CLAIM:FOLDER',
  ],
  [['launch', 'kubernetes', 'parts.pbin.shards', '--image', 'node'], 2, '--volume'],
  [['launch', 'status', 'empty'], 1, 'FILE_MISSING'],
  [['train-tokenizer', 'a.jsonl', '-o', 'trained.json', '--vocab-size', '260'], 0],
  [['train-tokenizer', 'a.jsonl', '-o', 'b.json', '--vocab-size', '3'], 2],
  [['train', 'none.yaml'], 1, 'FILE_MISSING'],
  [['train', 'good.yaml'], 2],
  [['evaluate', 'empty', '--data', 'a.pbin'], 1, 'no checkpoint found'],
  [['evaluate', 'empty'], 2, '--data'],
  [['generate', 'empty', '-p', 'x'], 1, 'no checkpoint found'],
  [['generate', 'empty'], 2, '--prompt'],
  [['generate', 'empty', '-p', 'x', '--prompts', '-'], 2, 'either --prompt or --prompts'],
  [['generate', 'empty', '--prompts', 'absent.txt'], 1, 'absent.txt'],
  [['generate', 'empty', '-p', 'x', '--top-p', '1.5'], 2, 'from 0 to 1'],
  [['generate', 'empty', '-p', 'x', '--samples', '0'], 2, 'positive integer'],
  [['convert', 'empty', 'b'], 1, 'no checkpoint found'],
  [['convert', 'empty'], 2],
  [['inspect', 'a.pbin'], 0],
  [['inspect', 'damaged.pbin'], 1, 'PBIN_INVALID'],
  [['inspect', 'a.jsonl'], 0],
  [['inspect', 'none'], 1, 'FILE_MISSING'],
  [['verify', 'a.pbin'], 0],
  [['verify', 'damaged.pbin'], 1],
  [['verify', 'empty'], 1, 'FILE_MISSING'],
  [['repair', 'a.jsonl'], 2, 'ARGUMENT_INVALID'],
  [['repair', 'none.pbin'], 1, 'FILE_MISSING'],
  [['view', 'none'], 1, 'FILE_MISSING'],
  [['view', 'none', '--port', '-1'], 2],
  [['plan', 'planned.yaml'], 0],
  [['plan', 'good.yaml'], 1],
  [['plan', 'wrong.yaml'], 2],
  [['graph', 'good.yaml'], 0],
  [['graph', 'none.yaml'], 1, 'FILE_MISSING'],
  [['stages', 'read-file'], 0],
  [['stages', 'no-such-stage'], 2, 'STAGE_UNKNOWN'],
  [['sinks'], 0],
  [['sinks', 'no-such-sink'], 2],
  [['completion', 'bash'], 0],
  [['completion', 'cmd'], 2, 'Allowed choices are bash, zsh, fish'],
  [['schema'], 0],
  [['schema', 'other'], 2],
  [['setup', 'other'], 2],
  [['setup', 'torch', '--check'], 2],
  [['doctor', 'extra'], 2],
  [['warmstart'], 2],
  [['explain', 'none.yaml'], 1],
  [['profile', 'no-such-command'], 2],
  [['benchmark', 'no-such-command'], 2],
  [['data', 'create_raw_index', 'a.jsonl', '--index_path', 'raw.idx'], 0],
  [['data', 'create_raw_index', 'none.jsonl'], 1, 'FILE_MISSING'],
  [['data', 'create_raw_index'], 2, '(run penstock data create_raw_index --help for the options)'],
  [['generate_text', '--config_file_path', 'none.yaml'], 1],
  [['convert_pytorch_to_hf_checkpoint'], 2],
]

describe('exit codes', () => {
  it('are 0, 1 or 2 for every command, and errors are one line with a code', { timeout: 300_000 }, async () => {
    const commands = (await penstock(['--help'])).out.matchAll(/^ {2}([a-z][\w-]*) /gm)
    const tested = new Set(rows.map(([args]) => args[0]))
    expect([...commands].map(match => match[1]!).filter(name => name !== 'help' && !tested.has(name))).toEqual([])
    const wrong = (await outcomes(rows)).flatMap(([[args, code, shown = ''], { code: found, out, err }]) => {
      // A report on standard output, such as that of verify, needs no error.
      const errors = err.split('\n').filter(line => line.startsWith('penstock: '))
      const isReported = code === 0 || out !== '' || (errors.length === 1 && / \[[A-Z_0-9]+\]$/.test(errors[0]!))
      const isRight = found === code && err.includes(shown) && isReported && !err.includes('Usage:')
      return isRight ? [] : [{ command: args.join(' '), code, found, err }]
    })
    expect(wrong).toEqual([])
    expect(readdirSync(folder).filter(name => name.startsWith('-') || name.startsWith('b.'))).toEqual([])
  })
})
