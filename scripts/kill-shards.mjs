/**
 * Kills `penstock pack` of a folder of shards at random moments and compares the packed file with that of an uninterrupted
 * run. Exit code 1 if any differs.
 *
 * node scripts/kill-shards.mjs FOLDER TOKENIZER [KILLS, default 20]
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'

const [shards, tokenizer, kills = '20'] = process.argv.slice(2)
if (tokenizer === undefined) {
  process.stderr.write('usage: node scripts/kill-shards.mjs FOLDER TOKENIZER [KILLS]\n')
  process.exit(2)
}
const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'penstock-kills-'))
const output = join(folder, 'out.pbin')

/** @returns the exit code, null if the run was killed, and its duration */
function pack(killAfterMs) {
  const started = performance.now()
  const child = spawn(process.execPath, [main, 'pack', shards, '-t', tokenizer, '-o', output, '--quiet'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfterMs)
  return new Promise(resolve => {
    child.on('close', code => {
      clearTimeout(timer)
      resolve({ code, ms: performance.now() - started })
    })
  })
}

async function packedHash() {
  const hash = createHash('sha256')
  await pipeline(createReadStream(output), hash)
  rmSync(output)
  return hash.digest('hex')
}

let failures = 0
try {
  const whole = await pack()
  if (whole.code !== 0) process.exit(1)
  const expected = await packedHash()
  process.stdout.write(`uninterrupted: ${(whole.ms / 1000).toFixed(1)} s, ${expected}\n`)
  for (let done = 0; done < Number(kills); ) {
    // One run of the same output after the other, each killed, until one ends: that one must give the same bytes.
    const { code } = await pack(Math.random() * whole.ms)
    if (code === null) {
      done++
      continue
    }
    const isSame = code === 0 && (await packedHash()) === expected
    if (!isSame) failures++
    process.stdout.write(`after ${done} kills: ${isSame ? 'the same bytes' : 'DIFFERENT'}\n`)
  }
  const last = await pack()
  if (last.code !== 0 || (await packedHash()) !== expected) failures++
  process.stdout.write(`${kills} kills, ${failures} failures\n`)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
process.exit(failures > 0 ? 1 : 0)
