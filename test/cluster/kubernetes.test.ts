/**
 * `penstock launch kubernetes`. The manifests are checked with the types of kubernetes-types, which are generated from the
 * OpenAPI document of Kubernetes 1.30: the compiler rejects unknown fields, missing fields and values of other types.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Job } from 'kubernetes-types/batch/v1.d.ts'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { type KubernetesOptions, kubernetesManifest, parseVolume } from '#src/cluster/launchers/kubernetes'
import type { ShardPlan } from '#src/cluster/plan-file'
import { penstock } from '../cli/support.js'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (...names: string[]): string => join(folder, ...names)
const root = fileURLToPath(new URL('../../', import.meta.url))

const plan: ShardPlan = {
  version: 1,
  name: 'pack',
  stages: [],
  outputs: [{ stage: 'write-pbin', path: '/work/corpus.pbin' }],
  shards: 12,
  bytes: 1,
}
const options: KubernetesOptions = {
  image: 'registry:5000/penstock@sha256:0123',
  volume: [{ claim: 'work', path: '/work' }],
  tasks: 12,
  parallelism: 4,
  cpus: 16,
  memory: 2 ** 34,
  retries: 3,
  maxFailed: 10,
  penstock: ['penstock'],
}
const shards = '/work/corpus.pbin.shards'
const manifest = (changed: Partial<KubernetesOptions> = {}, place = shards, changedPlan: Partial<ShardPlan> = {}) =>
  kubernetesManifest(place, { ...plan, ...changedPlan }, { ...options, ...changed }).yaml

/** As kubectl reads them. */
function jobsOf(yaml: string, count = 2): [Job, Job, ...Job[]] {
  const documents = parseAllDocuments(yaml, { version: '1.1' })
  if ('empty' in documents || documents.length !== count) throw new Error(`expected ${count} documents`)
  expect(documents.flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual([])
  return documents.map(document => document.toJS()) as [Job, Job, ...Job[]]
}

const compilerOptions: ts.CompilerOptions = { strict: true, noEmit: true, lib: ['lib.es5.d.ts'], types: [] }
const host = ts.createCompilerHost(compilerOptions)
const sources = new Map<string, ts.SourceFile | undefined>()

/** Errors of a manifest against the types of a Job. */
function schemaErrors(jobs: readonly object[]): string[] {
  const file = join(root, 'manifest.ts')
  const text = `import type { Job } from 'kubernetes-types/batch/v1'\nconst jobs: Job[] = ${JSON.stringify(jobs)}\nexport { jobs }\n`
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022)
  const getSourceFile: ts.CompilerHost['getSourceFile'] = (name, language) => {
    if (name === file) return source
    if (!sources.has(name)) sources.set(name, host.getSourceFile(name, language))
    return sources.get(name)
  }
  const program = ts.createProgram([file], compilerOptions, { ...host, getSourceFile })
  return ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '))
}

describe('launch kubernetes', () => {
  it('writes Jobs of the batch/v1 schema, which rejects unknown, missing and mistyped fields', () => {
    const jobs = jobsOf(manifest({ namespace: 'texts' }))
    expect(schemaErrors(jobs)).toEqual([])
    const [, merge] = jobs
    const container = { ...merge.spec!.template.spec!.containers[0]!, imagePullSecret: 'x' }
    const wrong = [
      { ...merge, spec: { ...merge.spec, backofLimit: 1 } },
      { ...merge, spec: { ...merge.spec, backoffLimit: '1' } },
      { ...merge, spec: { suspend: true } },
      { ...merge, spec: { template: { spec: { restartPolicy: 'Never', containers: [container] } } } },
    ]
    const errors = wrong.map(job => schemaErrors([job]).join())
    for (const [index, name] of [
      'backofLimit',
      "not assignable to type 'number'",
      'template',
      'imagePullSecret',
    ].entries()) {
      expect(errors[index]).toContain(name)
    }
  })

  it('runs the second pass of a shuffle in a Job of its own', () => {
    const jobs = jobsOf(manifest({}, shards, { firstPass: 6 }), 3)
    expect(jobs.map(({ metadata, spec }) => [metadata!.name, spec!.suspend === true])).toEqual([
      ['pack-shards', false],
      ['pack-pass2', true],
      ['pack-merge', true],
    ])
    const [, second] = jobs
    expect(second.spec!.template.spec!.containers[0]!.command!.slice(-3)).toEqual(['--pass', '2', '--quiet'])
  })

  it('runs one index per task, retries all failures but those of the input and the configuration, and merges later', () => {
    const [run, merge] = jobsOf(manifest({ namespace: 'texts' }))
    expect(run).toMatchObject({
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'pack-shards', namespace: 'texts' },
      spec: {
        completions: 12,
        parallelism: 4,
        completionMode: 'Indexed',
        backoffLimitPerIndex: 3,
        maxFailedIndexes: 10,
        podFailurePolicy: {
          rules: [
            { action: 'FailIndex', onExitCodes: { operator: 'In', values: [65] } },
            { action: 'FailJob', onExitCodes: { operator: 'In', values: [2] } },
            { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
          ],
        },
      },
    })
    const resources = { cpu: '16', memory: '16384Mi' }
    const pod = {
      restartPolicy: 'Never',
      containers: [
        {
          name: 'penstock',
          image: options.image,
          command: ['penstock', 'shards', 'run', shards, '--quiet'],
          env: [{ name: 'PENSTOCK_SHARD_COUNT', value: '12' }],
          resources: { requests: resources, limits: resources },
          volumeMounts: [{ name: 'volume-0', mountPath: '/work' }],
        },
      ],
      volumes: [{ name: 'volume-0', persistentVolumeClaim: { claimName: 'work' } }],
    }
    expect(run.spec!.template.spec).toEqual(pod)
    expect(merge).toMatchObject({ metadata: { name: 'pack-merge' }, spec: { suspend: true, backoffLimit: 3 } })
    expect(merge.spec!.template.spec!.containers[0]!.command).toContain('merge')
  })

  it('asks for no more pods and failures than there are indexes, as the API demands', () => {
    const [{ spec }] = jobsOf(manifest({ tasks: 3 }))
    expect(spec).toMatchObject({ completions: 3, parallelism: 3, maxFailedIndexes: 3 })
  })

  it('keeps hostile folders and commands as they are, and changes hostile names of plans to valid ones', () => {
    const words = [
      'a: b',
      '- x',
      "it's",
      '"q"',
      '#c',
      '{a}',
      '*x',
      'no',
      'y',
      '1:30',
      '1_000',
      '1e3',
      '~',
      'ü\u2028',
      'line\nnext: 1',
      '---',
      ' ',
    ]
    for (const word of words) {
      const [{ spec }] = jobsOf(manifest({ penstock: [word] }, `/work/${word}`))
      expect(spec!.template.spec!.containers[0]!.command).toEqual([word, 'shards', 'run', `/work/${word}`, '--quiet'])
    }
    const volume = [{ claim: 'no', path: '/work' }]
    const [named] = jobsOf(manifest({ name: 'y', namespace: 'on', image: '1:30', volume }))
    expect(named.metadata).toEqual({ name: 'y-shards', namespace: 'on' })
    expect(named.spec!.template.spec!.containers[0]!.image).toBe('1:30')
    expect(named.spec!.template.spec!.volumes![0]!.persistentVolumeClaim!.claimName).toBe('no')
    const [{ spec }] = jobsOf(manifest({}, '/work/$(HOME)/a$$b'))
    expect(spec!.template.spec!.containers[0]!.command).toContain('/work/$$(HOME)/a$$$$b')
    const names = ['My Corpus', '../x: y', '---', 'A'.repeat(99)].map(name => {
      return jobsOf(manifest({}, shards, { name }))[0].metadata!.name
    })
    expect(names).toEqual(['my-corpus-shards', 'x-y-shards', 'penstock-shards', `${'a'.repeat(50)}-shards`])
  })

  it('rejects names that Kubernetes rejects', () => {
    const wrong: Partial<KubernetesOptions>[] = [
      { name: 'Pack' },
      { name: '-a' },
      { name: 'a\nb' },
      { name: 'a\n' },
      { name: 'a'.repeat(51) },
      { name: '' },
      { namespace: 'a.b' },
      { namespace: 'a'.repeat(64) },
      { image: '' },
      { image: 'a b' },
      { image: 'a\n' },
      { volume: [{ claim: 'a_b', path: '/work' }] },
      { volume: [{ claim: 'a..b', path: '/work' }] },
      { volume: [{ claim: `a.${'b'.repeat(252)}`, path: '/work' }] },
    ]
    for (const changed of wrong) {
      expect(() => manifest(changed), JSON.stringify(changed)).toThrow(
        expect.objectContaining({ code: 'ARGUMENT_INVALID' }),
      )
    }
    expect(jobsOf(manifest({ name: '0-a', volume: [{ claim: 'a.b', path: '/work' }] }))[0].metadata!.name).toBe(
      '0-a-shards',
    )
  })

  it('rejects volumes without the plan or its outputs, and those that it cannot read', () => {
    const invalid = expect.objectContaining({ code: 'ARGUMENT_INVALID' })
    const volume = (path: string) => ({ volume: [{ claim: 'work', path }] })
    expect(() => manifest(volume('/wor'))).toThrow(invalid)
    expect(() => manifest(volume('/work/corpus.pbin.shards'))).toThrow(invalid)
    expect(() => manifest({ volume: [...options.volume, ...options.volume] })).toThrow(invalid)
    expect(manifest(volume('/'))).toContain('mountPath: /\n')
    for (const text of ['work', 'work:', 'work:relative', ':/work', 'work:/a:b', 'work:/a/../b']) {
      expect(() => parseVolume(text), text).toThrow(invalid)
    }
    expect(parseVolume('work:/data/texts')).toEqual({ claim: 'work', path: '/data/texts' })
  })

  it('writes the manifest next to the plan or to --output, and shows the next commands', async () => {
    writeFileSync(at('corpus.jsonl'), '{"text":"a line of text"}\n'.repeat(100))
    writeFileSync(
      at('index.yaml'),
      'name: texts\nstages:\n  - read-file: { path: corpus.jsonl }\n  - read-lines\n  - write-index: { path: corpus.idx }\n',
    )
    const launch = (...args: string[]) => {
      return penstock(['launch', 'kubernetes', ...args, '--image', 'node:22', '--volume', `work:${folder}`], folder)
    }
    const first = await launch('index.yaml', '--shards', '5', '--tasks', '2')
    expect(first.code).toBe(0)
    expect(first.err).toContain('patch job texts-merge')
    expect(readFileSync(at('corpus.idx.shards', 'kubernetes.yaml'), 'utf8')).toBe(first.out)
    expect(jobsOf(first.out)[0].spec).toMatchObject({ completions: 2, parallelism: 2 })
    mkdirSync(at('other'))
    const second = await launch('corpus.idx.shards', '--output', 'other/job.yaml', '--quiet', '--namespace', 'lab')
    expect(second).toMatchObject({ code: 0, err: '' })
    expect(readFileSync(at('other', 'job.yaml'), 'utf8')).toBe(second.out)
  })

  it('finds and deletes its Jobs with kubectl', async () => {
    mkdirSync(at('bin'))
    const status = {
      succeeded: 3,
      failed: 2,
      failedIndexes: '7',
      conditions: [
        { type: 'FailureTarget', status: 'True' },
        { type: 'Failed', status: 'True' },
      ],
    }
    const job = { metadata: { name: 'texts-shards' }, spec: { suspend: false }, status }
    const answer = JSON.stringify({ kind: 'List', items: [job] })
    writeFileSync(
      at('bin', 'kubectl'),
      `#!/bin/sh\necho "$*" >> ${at('calls')}\ncase "$*" in *" get "*) echo '${answer}';; esac\n`,
      { mode: 0o755 },
    )
    const env = { PATH: `${at('bin')}:${process.env.PATH}` }
    const { code, out } = await penstock(['launch', 'status', 'corpus.idx.shards'], folder, env)
    expect(code).toBe(0)
    expect(out).toContain('5 shards: 5 waiting, 0 done')
    expect(out).toContain('texts-shards: Failed, 3 succeeded, 2 failed (indexes 7)\n')
    expect(out).toContain('texts-merge: not in the cluster')
    expect(await penstock(['launch', 'stop', 'corpus.idx.shards'], folder, env)).toMatchObject({ code: 0 })
    expect(readFileSync(at('calls'), 'utf8')).toBe(
      '--namespace lab get jobs texts-shards texts-merge --ignore-not-found --output json\n' +
        '--namespace lab delete jobs texts-shards texts-merge --ignore-not-found\n',
    )
    const without = await penstock(['launch', 'status', 'corpus.idx.shards'], folder, { PATH: at('other') })
    expect(without.err).toContain('kubectl is not installed on this machine')
  })
})
