/** The command of a killed agent ends with it, and its shard is resumed by the next one. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { MAIN, penstock } from '../cli/support.js'
import { byteTokenizer } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'

it('stops when standard input closes, with the exit code for a retry', async () => {
  const folder = temporaryFolder()
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(byteTokenizer()))
  writeFileSync(join(folder, 'corpus.jsonl'), '{"text":"a line of the corpus"}\n'.repeat(400_000))
  const plan = ['pack', 'corpus.jsonl', '-t', 'tokenizer.json', '-o', 'corpus.pbin', '--workers', '1', '--shards', '1']
  expect(await penstock(plan, folder)).toMatchObject({ code: 0 })
  const child = spawn(process.execPath, [MAIN, 'shards', 'run', 'corpus.pbin.shards', '--stop-with-parent'], {
    cwd: folder,
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  child.stdin.end()
  let text = ''
  child.stderr.on('data', chunk => {
    text += chunk
  })
  const code = await new Promise(resolve => child.on('close', resolve))
  expect([code, text]).toEqual([75, expect.stringContaining('[STOPPED]')])
  expect(await penstock(['shards', 'run', 'corpus.pbin.shards', '--quiet'], folder)).toMatchObject({ code: 0 })
  expect((await penstock(['shards', 'status', 'corpus.pbin.shards'], folder)).out).toContain('1 shards: 1 done')
})
