/** Formats a plan as text. */
import { bytes, count, duration, quantity } from '../output/terminal.js'
import type {
  ClusterEstimate,
  Estimate,
  PipelinePlan,
  Plan,
  PlannedInput,
  PlannedOutput,
  PlannedSource,
} from './model.js'

const SHOWN_INPUTS = 10

export function planText({ pipelines, disks, problems }: Plan): string {
  const lines = pipelines.flatMap(pipelineLines)
  for (const { folder, neededBytes, freeBytes } of disks) {
    lines.push(`disk: ${bytes(neededBytes)} needed, ${bytes(freeBytes)} free in ${folder}`)
  }
  if (problems.length === 0) lines.push('no problems found')
  for (const { severity, pipeline, message } of problems) {
    lines.push(`${severity}: ${pipeline === '' ? '' : `${pipeline}: `}${message}`)
  }
  return `${lines.join('\n')}\n`
}

function pipelineLines({ name, reads, writes, estimate }: PipelinePlan): string[] {
  return [
    name,
    ...shownInputs(reads).map(
      (file, index) =>
        `  ${(index === 0 ? 'reads' : '').padEnd(7)} ${typeof file === 'string' ? file : inputLine(file)}`,
    ),
    ...writes.map((file, index) => `  ${(index === 0 ? 'writes' : '').padEnd(7)} ${outputLine(file)}`),
    ...[
      countsLine(estimate),
      rowsLine(estimate),
      ...(estimate.sources ?? []).map(sourceLine),
      ...(estimate.cluster === undefined ? [costLine(estimate)] : clusterLines(estimate.cluster, estimate.seconds)),
    ]
      .filter(line => line !== '')
      .map(line => `  ${line}`),
    '',
  ]
}

/** The first inputs, and a summary of the others. */
function shownInputs(reads: readonly PlannedInput[]): (PlannedInput | string)[] {
  if (reads.length <= SHOWN_INPUTS) return [...reads]
  const others = reads.slice(SHOWN_INPUTS - 1)
  const size = others.reduce((sum, { bytes: known = 0 }) => sum + known, 0)
  return [...reads.slice(0, SHOWN_INPUTS - 1), `${count(others.length)} more files (${bytes(size)})`]
}

function inputLine({ path, bytes: size, madeBy }: PlannedInput): string {
  if (madeBy !== undefined) return `${path} (written by ${madeBy})`
  return `${path} (${size === undefined ? 'missing' : bytes(size)})`
}

function outputLine({ path, bytes: size, exists }: PlannedOutput): string {
  const notes = [size === undefined ? '' : `about ${bytes(size)}`, exists ? 'exists' : ''].filter(note => note !== '')
  return notes.length === 0 ? path : `${path} (${notes.join(', ')})`
}

function countsLine({ documents, tokens, samples, steps, epochs, parameters, exact }: Estimate): string {
  const parts = [
    documents === undefined ? '' : `${quantity(documents, 'document')}`,
    tokens === undefined ? '' : `${quantity(tokens, 'token')}`,
    samples === undefined ? '' : `${quantity(samples, 'sample')}`,
    steps === undefined ? '' : `${quantity(steps, 'step')}`,
    epochs === undefined ? '' : `${epochs.toFixed(2)} epochs`,
    parameters === undefined ? '' : `${count(parameters)} parameters`,
  ].filter(part => part !== '')
  if (parts.length === 0) return ''
  return `${exact ? '' : 'about '}${parts.join(', ')}`
}

function rowsLine({ rows }: Estimate): string {
  if (rows === undefined) return ''
  const [padding, dropped] = [rows.padding, rows.dropped].map(share => `${(100 * share).toFixed(2)} %`)
  return `rows of whole documents: ${padding} padding, ${dropped} of the tokens are in documents that were dropped`
}

function sourceLine({ name, tokens, share, epochs }: PlannedSource): string {
  return `source ${name}: ${quantity(tokens, 'token')}, ${(100 * share).toFixed(1)} % of the run, ${epochs.toFixed(2)} epochs`
}

function costLine({ seconds, memoryBytes }: Estimate): string {
  const parts = [
    seconds === undefined ? '' : `${duration(1000 * seconds)} on this machine`,
    memoryBytes === undefined ? '' : `${bytes(memoryBytes)} of memory`,
  ].filter(part => part !== '')
  return parts.length === 0 ? '' : `about ${parts.join(', ')}`
}

function clusterLines(cluster: ClusterEstimate, seconds: number | undefined): string[] {
  const { gpus, card, cardMemoryBytes, memory, fits, flopsPerToken, stepSeconds, utilization } = cluster
  const parts = [
    ['weights', memory.weights],
    ['moments', memory.moments],
    ['gradients', memory.gradients],
    ['activations', memory.activations],
    ['output layer', memory.outputLayer],
  ] as const
  const time =
    stepSeconds === undefined || utilization === undefined
      ? ''
      : `, ${stepSeconds.toFixed(stepSeconds < 10 ? 2 : 0)} s per step at an MFU of ${(100 * utilization).toFixed(0)} %`
  return [
    `on ${count(gpus)} x ${card}: ${bytes(memory.peak)} of ${bytes(cardMemoryBytes)} per GPU, ${fits ? 'fits' : 'does not fit'}`,
    `  ${parts.map(([name, size]) => `${name} ${bytes(size)}`).join(', ')}`,
    `  ${(flopsPerToken / 1e9).toPrecision(3)} GFLOPs per token${time}`,
    seconds === undefined ? '' : `  ${duration(1000 * seconds)} for all steps, without network, data and checkpoints`,
  ]
}
