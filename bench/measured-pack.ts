/** `penstock pack` in a child process, with what it used. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

export interface MeasuredPack {
  readonly wallSeconds: number
  /** User and system time of all threads. */
  readonly cpuSeconds: number
  /** Largest resident memory, in MB. */
  readonly memory: number
  /** Of the packed file. */
  readonly sha256: string
}

/** @param source file or folder */
export function measuredPack(source: string, tokenizer: string): MeasuredPack {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-pack-'))
  const output = join(folder, 'out.pbin')
  const report = "process.on('exit', () => console.log(JSON.stringify(process.resourceUsage())))"
  const hook = `data:text/javascript,${encodeURIComponent(report)}`
  const options = ['-t', tokenizer, '-o', output, '--workers', '2', '--quiet']
  try {
    const started = performance.now()
    const node = ['--import', hook, main, 'pack', source, ...options]
    const text = execFileSync(process.execPath, node, { encoding: 'utf8' })
    const wallSeconds = (performance.now() - started) / 1000
    const { userCPUTime, systemCPUTime, maxRSS } = JSON.parse(text.trim().split('\n').at(-1)!)
    return {
      wallSeconds,
      cpuSeconds: (userCPUTime + systemCPUTime) / 1e6,
      memory: (maxRSS * 1024) / 1e6,
      sha256: createHash('sha256').update(readFileSync(output)).digest('hex'),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export function printMachine(): void {
  const load = loadavg()[0]!.toFixed(1)
  const date = new Date().toISOString().slice(0, 10)
  console.log(`${cpus()[0]?.model}, ${cpus().length} cores, Node ${process.version}, ${date}, load ${load}`)
}
