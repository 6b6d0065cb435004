import { execFileSync, spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'

const main = new URL('../../dist/cli/main.js', import.meta.url).pathname

interface Finding {
  readonly what: string
  readonly state: string
  readonly found: string
  readonly remedy?: string
}

describe('doctor', () => {
  it('passes on this machine, with a remedy for every missing part', () => {
    const findings = JSON.parse(
      execFileSync(process.execPath, [main, 'doctor', '--json'], { encoding: 'utf8' }),
    ) as Finding[]
    const states = Object.fromEntries(findings.map(({ what, state }) => [what, state]))
    expect(states).toMatchObject({ Node: 'ok', SIMD: 'ok', kernels: 'ok' })
    expect(findings.find(({ what }) => what === 'Node')!.found).toContain(process.versions.node)
    for (const { state, what, remedy } of findings) if (state !== 'ok' && what !== 'GPU') expect(remedy).toBeTruthy()
  })

  it('reports a processor without SIMD', () => {
    // Without SSE4.1, V8 does not support WebAssembly SIMD.
    const { stdout, status } = spawnSync(process.execPath, ['--no-enable-sse4-1', main, 'doctor'], { encoding: 'utf8' })
    if (process.arch !== 'x64') return
    expect(stdout).toMatch(/^problem +SIMD .*\n +-> /m)
    expect(status).toBe(1)
  })

  it('reports a missing Python', () => {
    const env = { ...process.env, PENSTOCK_PYTHON: '/nowhere/python', PATH: '' }
    const { stdout } = spawnSync(process.execPath, [main, 'doctor'], { encoding: 'utf8', env })
    expect(stdout).toMatch(/^absent +Python .*\/nowhere\/python does not run/m)
  })
})
