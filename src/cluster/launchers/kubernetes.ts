/**
 * Kubernetes: manifest of an Indexed Job that runs the shards (a suspended one for each further pass), and of a suspended Job that merges them. Penstock sends nothing
 * to the cluster: `kubectl apply` does.
 *
 * Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/; podFailurePolicy and backoffLimitPerIndex are stable
 * since Kubernetes 1.33.
 */
import { relative } from 'node:path'
import { stringify } from 'yaml'
import { PenstockError } from '../../errors.js'
import { isRemote } from '../../files/remote/remote-name.js'
import { FAULTY_INPUT, MISCONFIGURED } from '../exit-codes.js'
import { passArguments, type ShardPlan } from '../plan-file.js'

/** Completions of an Indexed Job that the API accepts with any parallelism. */
export const MAX_INDEXES = 100_000
/** A pod is named JOB-INDEX, a DNS label: this leaves room for `-shards-` and five digits. */
const MAX_NAME = 63 - '-shards-'.length - 5
const MAX_LABEL = 63
const MAX_SUBDOMAIN = 253

/** A persistent volume claim, and the absolute path at which the pods mount it. */
export interface Volume {
  readonly claim: string
  readonly path: string
}

export interface KubernetesOptions {
  /** Jobs are called `NAME-shards` and `NAME-merge`; by default after the plan. */
  readonly name?: string | undefined
  readonly namespace?: string | undefined
  readonly image: string
  readonly volume: readonly Volume[]
  /** Indexes of the Job; each runs several shards if there are more. */
  readonly tasks: number
  /** Pods that run at the same time. */
  readonly parallelism: number
  /** Cores and bytes of memory of each pod. */
  readonly cpus: number
  readonly memory?: number | undefined
  /** Failures of an index, or of the merge, that are followed by another pod. */
  readonly retries: number
  /** Failed indexes after which no more shards are started. */
  readonly maxFailed: number
  /** Command that runs Penstock in the image. */
  readonly penstock: readonly string[]
}

export interface KubernetesManifest {
  /** Names of the Jobs in the order in which they run, the merge last; all but the first are suspended. */
  readonly jobs: readonly string[]
  /** All Jobs. */
  readonly yaml: string
}

/** @throws ARGUMENT_INVALID for names that Kubernetes rejects, and for a plan or an output outside of all volumes */
export function kubernetesManifest(folder: string, plan: ShardPlan, options: KubernetesOptions): KubernetesManifest {
  const { name = nameOf(plan), tasks, retries } = options
  checkNames(name, options)
  checkVolumes(folder, plan, options.volume)
  const merge = `${name}-merge`
  const passes = passArguments(plan)
  const names = passes.map((_, pass) => (pass === 0 ? `${name}-shards` : `${name}-pass${pass + 1}`))
  const shardsSpec = (pass: number) => ({
    ...(pass === 0 ? {} : { suspend: true }),
    completions: tasks,
    parallelism: Math.min(tasks, options.parallelism),
    completionMode: 'Indexed',
    backoffLimitPerIndex: retries,
    maxFailedIndexes: Math.min(tasks, options.maxFailed),
    podFailurePolicy: {
      rules: [onExitCode(FAULTY_INPUT, 'FailIndex'), onExitCode(MISCONFIGURED, 'FailJob'), ignoreDisruptions],
    },
    template: template(options, ['shards', 'run', folder, ...passes[pass]!, '--quiet'], {
      PENSTOCK_SHARD_COUNT: `${tasks}`,
    }),
  })
  const mergeSpec = {
    suspend: true,
    backoffLimit: retries,
    podFailurePolicy: { rules: [onExitCode(MISCONFIGURED, 'FailJob'), ignoreDisruptions] },
    template: template(options, ['shards', 'merge', folder, '--quiet']),
  }
  const jobs = [...names.map((shards, pass) => job(shards, options, shardsSpec(pass))), job(merge, options, mergeSpec)]
  return { jobs: [...names, merge], yaml: jobs.map(toYaml).join('---\n') }
}

/** Without folded lines and anchors. kubectl reads YAML 1.1, in which unquoted `no` and `1:30` are not strings. */
const toYaml = (value: object): string =>
  stringify(value, { lineWidth: 0, aliasDuplicateObjects: false, compat: 'yaml-1.1' })

function job(name: string, { namespace }: KubernetesOptions, spec: object): object {
  const metadata = { name, ...(namespace === undefined ? {} : { namespace }) }
  return { apiVersion: 'batch/v1', kind: 'Job', metadata, spec }
}

const onExitCode = (code: number, action: string): object => ({
  action,
  onExitCodes: { operator: 'In', values: [code] },
})

/** A pod that was evicted or preempted is replaced, and the failure is not counted. */
const ignoreDisruptions = { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] }

/** The pod of one Job. Requests equal limits, so that a node with little memory evicts other pods first. */
function template(
  { image, volume, cpus, memory, penstock }: KubernetesOptions,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): object {
  const resources = { cpu: `${cpus}`, ...(memory === undefined ? {} : { memory: `${memory / 2 ** 20}Mi` }) }
  const variables = Object.entries(env).map(([name, value]) => ({ name, value }))
  const container = {
    name: 'penstock',
    image,
    command: [...penstock, ...args].map(escaped),
    ...(variables.length === 0 ? {} : { env: variables }),
    resources: { requests: resources, limits: resources },
    volumeMounts: volume.map(({ path }, index) => ({ name: `volume-${index}`, mountPath: path })),
  }
  const volumes = volume.map(({ claim }, index) => ({
    name: `volume-${index}`,
    persistentVolumeClaim: { claimName: claim },
  }))
  return { spec: { restartPolicy: 'Never', containers: [container], volumes } }
}

/** Kubernetes replaces `$(NAME)` in the words of a command, and `$$` by `$`. */
const escaped = (word: string): string => word.replaceAll('$', '$$$$')

function nameOf({ name }: ShardPlan): string {
  const label = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')
  return label.slice(0, MAX_NAME).replaceAll(/^-+|-+$/g, '') || 'penstock'
}

function checkNames(name: string, { namespace, volume, image }: KubernetesOptions): void {
  checkLabel('--name', name, MAX_NAME)
  if (namespace !== undefined) checkLabel('--namespace', namespace, MAX_LABEL)
  for (const { claim } of volume) {
    if (claim.length > MAX_SUBDOMAIN) rejectName('the claim of --volume', claim, MAX_SUBDOMAIN)
    for (const label of claim.split('.')) checkLabel('the claim of --volume', label, MAX_SUBDOMAIN)
  }
  if (/^[\w@:./-]+$/.test(image)) return
  throw new PenstockError('ARGUMENT_INVALID', `--image: expected the name of an image, found ${JSON.stringify(image)}`)
}

/** A DNS label (RFC 1123). @throws ARGUMENT_INVALID */
function checkLabel(what: string, label: string, maxLength: number): void {
  if (!/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(label) || label.length > maxLength) rejectName(what, label, maxLength)
}

function rejectName(what: string, name: string, maxLength: number): never {
  const expected = `at most ${maxLength} lower-case letters, digits and hyphens, with a letter or digit at both ends`
  throw new PenstockError('ARGUMENT_INVALID', `${what}: expected ${expected}, found ${JSON.stringify(name)}`)
}

/** The pods use the paths of the plan. @throws ARGUMENT_INVALID */
function checkVolumes(folder: string, plan: ShardPlan, volumes: readonly Volume[]): void {
  const paths = volumes.map(({ path }) => path)
  if (new Set(paths).size < paths.length) {
    throw new PenstockError('ARGUMENT_INVALID', '--volume: two volumes have the same path')
  }
  for (const path of [folder, ...plan.outputs.map(output => output.path)]) {
    if (isRemote(path) || paths.some(mount => !/^\.\.(\/|$)/.test(relative(mount, path)))) continue
    const message = `${path} is on none of the volumes, so the pods would not find it: add --volume CLAIM:FOLDER with a folder above it, and plan where the volume is mounted at the same path`
    throw new PenstockError('ARGUMENT_INVALID', message)
  }
}

/** `CLAIM:PATH` @throws ARGUMENT_INVALID */
export function parseVolume(text: string): Volume {
  const [, claim, path] = /^([^:]+):(\/[^:]*)$/.exec(text) ?? []
  if (claim !== undefined && path !== undefined && !path.split('/').includes('..')) return { claim, path }
  const message = `expected a claim and an absolute path without colons, such as work:/work, found ${JSON.stringify(text)}`
  throw new PenstockError('ARGUMENT_INVALID', message)
}
