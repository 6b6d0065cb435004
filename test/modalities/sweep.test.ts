// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolations are what is tested
/**
 * Sweeps. `modalities benchmark prepare_sweep_configs` 0.5.0 produced the hashes and texts from the same file. If they
 * change, both systems no longer use the same folders for one sweep.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'
import { prepareSweep, remainingRuns, sweepConfigs } from '#src/modalities/sweep'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()

const SWEEP = `sweep:
  lr: [1e-4, 0.001]
  model:
    n_layer: [2, 4]
    dims:
      - [128, 256]
      - {a: 1, b: 2.0}
  text: "a long text that goes on and on behind column eighty, so that it is folded: yes, indeed it's so"
settings:
  x: \${sweep.lr}
  empty: {}
  none: []
  y: "yes"
  u: größe
`

const FIRST = `sweep:
  lr: 1e-4
  model:
    n_layer: 2
    dims:
    - 128
    - 256
  text: 'a long text that goes on and on behind column eighty, so that it is folded:
    yes, indeed it''s so'
settings:
  x: \${sweep.lr}
  empty: {}
  none: []
  y: 'yes'
  u: "gr\\xF6\\xDFe"
`

const HASHES = [
  '1566544bb32a1aa7',
  '2e7a5f3e0da1e6cf',
  '3baf2988b0b6a7f7',
  '7641724473115503',
  '891587ac796ca4d6',
  'b3af6b458e7e4e6f',
  'cba863390eb236ea',
  'fd5b13537ba6e1e5',
]

describe('sweepConfigs', () => {
  it('writes the same configurations as Modalities, byte for byte', () => {
    const { hash, configs } = sweepConfigs(SWEEP, 'sweep.yaml')
    expect(hash).toBe('57790dd3e0219465')
    expect(configs.map(config => config.hash).sort()).toEqual(HASHES)
    expect(configs[0]!.text).toBe(FIRST)
  })

  it.each([
    ['settings: {}', {}],
    ['sweep: [1, 2]', { line: 1 }],
    ['sweep: {a: {}}', { line: 1 }],
    [`sweep:\n${'abcde'.replaceAll(/./g, key => `  ${key}: [1, 2, 3, 4, 5, 6, 7, 8, 9]\n`)}`, { path: 'sweep.e' }],
  ])('rejects %j', (text, where) => {
    expect(() => sweepConfigs(text, 'sweep.yaml')).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', where: expect.objectContaining(where) }),
    )
  })
})

describe('remainingRuns', () => {
  const options = { expectedSteps: 2, skippedErrors: [], newFolders: false }
  const run = (root: string, name: string): string => {
    const path = join(folder, root, '2', name)
    mkdirSync(path, { recursive: true })
    writeFileSync(join(path, 'sweep.yaml'), name)
    return path
  }

  it('lists incomplete runs by the latest folder of each hash', async () => {
    run('some', 'aa_2026-01-01__00-00-00')
    const later = run('some', 'aa_2026-01-02__00-00-00')
    const failed = run('some', 'bb_2026-01-01__00-00-00')
    const names = async (more = {}) =>
      (await remainingRuns(join(folder, 'some'), { ...options, ...more })).remaining.map(path =>
        basename(dirname(path)),
      )
    expect(await names()).toEqual(['aa_2026-01-02__00-00-00', 'bb_2026-01-01__00-00-00'])
    writeFileSync(join(later, 'evaluation_results.jsonl'), '{}\n{}\n')
    writeFileSync(join(failed, 'error_logs_host_0.log'), JSON.stringify({ error: { type: 'OutOfMemoryError' } }))
    expect(await names()).toEqual(['bb_2026-01-01__00-00-00'])
    expect(await names({ expectedSteps: 3 })).toHaveLength(2)
    expect(await names({ skippedErrors: ['OutOfMemoryError'] })).toEqual([])
    expect(await names({ worldSize: 4 })).toEqual([])
    const [again] = (await remainingRuns(join(folder, 'some'), { ...options, newFolders: true })).remaining
    expect(relative(join(folder, 'some'), again!)).toMatch(/^2.bb_\d{4}-.*__.*.sweep\.yaml$/)
    expect(basename(dirname(again!))).not.toBe(basename(failed))
    expect(readFileSync(again!, 'utf8')).toBe(basename(failed))
  })

  it('accepts folders of prepareSweep and rejects other names', async () => {
    writeFileSync(join(folder, 'sweep.yaml'), SWEEP)
    const paths = await prepareSweep(join(folder, 'sweep.yaml'), join(folder, 'made'), [1, 2])
    expect(paths).toHaveLength(16)
    const { all, remaining } = await remainingRuns(join(folder, 'made'), { ...options, newFolders: true })
    expect(remaining).toEqual(all)
    expect(all.map(path => basename(dirname(path))).sort()).toEqual(paths.map(path => basename(dirname(path))).sort())
    run('named', 'otherwise')
    await expect(remainingRuns(join(folder, 'named'), options)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})
