/** Builds the GPU kit and runs its checks of packing and results on the CPU, with tiny sizes. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT } from '../../cli/support.js'
import { temporaryFolder } from '../../stages/support.js'
import { slow, torchPython } from './fixtures.js'

test.skipIf(torchPython === undefined)(
  'the GPU kit has at most 60 MB and trains like a plain loop, with its own Node.js',
  { timeout: slow },
  () => {
    const folder = temporaryFolder()
    const kit = join(folder, 'kit')
    const script = join(ROOT, 'scripts/gpu-kit.mjs')
    const built = execFileSync(process.execPath, [script, kit, '--node', process.execPath], { encoding: 'utf8' })
    expect(Number(/: ([\d.]+) MB/.exec(built)![1])).toBeLessThan(60)
    const parts = ['--only', 'pack', 'results', '--json', join(folder, 'results.json')]
    // Without a PATH that leads to another Node.js.
    const env = { PATH: '/usr/bin:/bin', HOME: folder }
    execFileSync(torchPython!, [join(kit, 'check'), '--device', 'cpu', '--tiny', ...parts], { env })
    const { pack, results } = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')).parts
    expect(pack.status).toBe('ok')
    expect(results.status).toBe('ok')
    expect(results.figures.float32).toBeLessThan(1e-5)
    expect(results.figures['last loss']).toBeLessThan(results.figures['first loss'] - 0.3)
  },
)
