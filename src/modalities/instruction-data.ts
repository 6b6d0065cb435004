/**
 * Renders conversations with a chat template and splits them randomly into files. Uses the random generator of
 * Modalities' `prepare_instruction_tuning_data`, so each part has the same lines, byte for byte.
 */

import { createHash } from 'node:crypto'
import { basename, dirname, extname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import * as z from 'zod'
import { PenstockError, toPenstockError } from '../errors.js'
import { makeFolder } from '../files/durable.js'
import { type OutputFile, openOutput } from '../files/output-file.js'
import { readWhole } from '../files/read-at.js'
import { copyOver } from '../files/replace-file.js'
import type { LineBatch } from '../formats/batches.js'
import { recordAt } from '../formats/extract.js'
import { pythonRandom } from '../sampling/python-random.js'
import { readFile } from '../stages/read-file.js'
import { readLines } from '../stages/read-lines.js'
import { FaultHandler, faultOptions } from '../stages/stream/fault-handler.js'
import { sink } from '../stages/stream/stage.js'
import { type ChatTemplate, compileChatTemplate } from './chat-template.js'
import { instructionNames } from './plans/names.js'
import type { ModalitiesInstructionPlan } from './plans/other-plans.js'
import { type PythonJson, parsePythonJson, pythonJson } from './yaml/python-json.js'

export interface InstructionPart {
  readonly name: string
  readonly records: number
  readonly data: string
  readonly index: string
  readonly packed: string
  readonly packConfig: string
}

interface InstructionParts {
  /** The parts that received records. */
  readonly parts: readonly InstructionPart[]
  /** Number of records skipped by the policy for faulty records. */
  readonly rejected: number
}

const faultSchema = z.strictObject(faultOptions)

/**
 * Writes the parts, replacing those of an earlier run. A skipped record draws no random number, so it does not change the
 * parts of the other records.
 * @param faults policy for faulty records; by default they fail the run
 * @throws PEER_MISSING, CONFIG_INVALID; JSON_INVALID, FIELD_MISSING with the line of the record; TOO_MANY_FAULTS
 */
export async function writeInstructionParts(
  plan: ModalitiesInstructionPlan,
  configPath: string,
  faults: z.input<typeof faultSchema> = {},
): Promise<InstructionParts> {
  const render = compileChatTemplate(plan.chatTemplate)
  const hash = createHash('sha256')
    .update(await readWhole(configPath))
    .digest('hex')
  const ending = extname(plan.outputPath)
  const names = instructionNames(stemOf(plan.sourcePath), stemOf(plan.outputPath), hash)
  const folder = join(dirname(plan.outputPath), names.folder)
  await makeFolder(folder)
  await copyOver(configPath, join(folder, names.templateConfig))
  const { train, val, test, seed } = plan.split ?? { train: 100, val: 0, test: 0, seed: 0 }
  const shares = Object.entries({ train, val, test })
  const random = pythonRandom(seed)
  const counts = new Map<string, number>()
  const files = new Map<string, OutputFile>()
  let rejected: number
  try {
    for (const [part, share] of shares) {
      if (share > 0) files.set(part, (await openOutput(join(folder, names.data(part, ending)), 'override'))!)
    }
    const renderLine = (line: string, where: Place) => rendered(line, plan, render, where)
    rejected = await renderLines(plan.sourcePath, renderLine, faultSchema.parse(faults), async line => {
      const [part] = shares[random.choose(shares.map(([, share]) => share))]!
      counts.set(part, (counts.get(part) ?? 0) + 1)
      await files.get(part)!.write(Buffer.from(`${line}\n`))
    })
    for (const file of files.values()) await file.commit()
  } finally {
    for (const file of files.values()) await file.abandon()
  }
  const parts = [...counts].map(([name, records]) => ({
    name,
    records,
    data: join(folder, names.data(name, ending)),
    index: join(folder, names.data(name, '.idx')),
    packed: join(folder, names.data(name, '.pbin')),
    packConfig: join(folder, names.packConfig(name)),
  }))
  return { parts, rejected }
}

const stemOf = (path: string): string => basename(path, extname(path))

type Place = { readonly file: string; readonly line: number }

/** Renders each line of a file and passes it to `write`. @returns the number of skipped records */
async function renderLines(
  path: string,
  render: (line: string, where: Place) => string,
  faults: z.output<typeof faultSchema>,
  write: (line: string) => Promise<void>,
): Promise<number> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const lines = sink<LineBatch>('render-chat', async (input, context) => {
    const handler = new FaultHandler(faults, 'render-chat', context)
    try {
      for await (const batch of input) {
        for (let index = 0; index < batch.starts.length; index++) {
          const record = recordAt(batch, index)
          const line = renderOrError(() => render(decoder.decode(record.record), record), record)
          if (typeof line === 'string') await write(line)
          else await handler.handle({ ...record, code: line.code, message: line.message })
        }
      }
      await handler.finish()
    } finally {
      await handler.abandon()
    }
  })
  const reader = readLines({ source: path, ...faults })
  await pipeline(readFile({ path }), reader, lines)
  return reader.stats.rejected + lines.stats.rejected
}

/** The rendered line, or the error of its record. @throws UNSUPPORTED, which is an error of the template */
function renderOrError(render: () => string, { file, line }: Place): string | PenstockError {
  try {
    return render()
  } catch (error) {
    const fault = toPenstockError(error, 'UTF8_INVALID', { file, line })
    if (fault.code === 'UNSUPPORTED') throw fault
    return fault
  }
}

/** The record as JSON, with its roles renamed and the rendered text under `chat`. */
function rendered(line: string, plan: ModalitiesInstructionPlan, render: ChatTemplate, where: Place): string {
  const entry = parsePythonJson(line)
  const messages = entry instanceof Map ? entry.get(plan.messagesKey) : undefined
  if (!(entry instanceof Map) || !Array.isArray(messages)) {
    throw new PenstockError('FIELD_MISSING', `expected a list under ${plan.messagesKey}`, where)
  }
  for (const message of messages) renameRoles(message, plan.roleMapping, where)
  try {
    entry.set('chat', render(messages, plan.chatTemplateData))
  } catch (error) {
    if (error instanceof PenstockError) throw error
    throw new PenstockError('FIELD_NOT_TEXT', `the chat template fails: ${(error as Error).message}`, where, error)
  }
  return pythonJson(entry)
}

function renameRoles(message: PythonJson, mapping: Readonly<Record<string, string>>, where: Place): void {
  if (!(message instanceof Map))
    throw new PenstockError('FIELD_MISSING', 'expected each message to be an object', where)
  for (const key of ['role', 'from']) {
    if (!message.has(key)) continue
    const role = message.get(key)
    if (typeof role !== 'string' || !Object.hasOwn(mapping, role)) {
      const known = Object.keys(mapping).join(', ')
      throw new PenstockError('FIELD_MISSING', `unknown role ${String(role)}: role_mapping has ${known}`, where)
    }
    message.set(key, mapping[role]!)
  }
}
