/**
 * Conversations -> the text of each by a chat template, split over files by chance: the parts of the reference's
 * `prepare_instruction_tuning_data`, drawn by its own generator, line for line the same bytes.
 */
import { createHash } from 'node:crypto'
import { copyFile, mkdir, readFile as readWhole } from 'node:fs/promises'
import { basename, dirname, extname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { PenstockError, toPenstockError } from '../../errors.js'
import type { LineBatch } from '../../formats/batches.js'
import { recordAt } from '../../formats/extract.js'
import { pythonRandom } from '../../sampling/python-random.js'
import { type OutputFile, openOutput } from '../../stages/output-file.js'
import { readFile } from '../../stages/read-file.js'
import { readLines } from '../../stages/read-lines.js'
import { sink } from '../../stages/stage.js'
import { type ChatTemplate, compileChatTemplate } from './chat-template.js'
import { instructionNames } from './names.js'
import type { ModalitiesInstructionPlan } from './other-plans.js'
import { type PythonJson, parsePythonJson, plainJson, pythonJson } from './python-json.js'

export interface InstructionPart {
  readonly name: string
  readonly records: number
  readonly data: string
  readonly index: string
  readonly packed: string
  readonly packConfig: string
}

/**
 * Writes the parts, replacing those of an earlier run.
 * @returns the parts that got records
 * @throws PEER_MISSING, CONFIG_INVALID; JSON_INVALID, FIELD_MISSING with the line of the record
 */
export async function writeInstructionParts(
  plan: ModalitiesInstructionPlan,
  configPath: string,
): Promise<InstructionPart[]> {
  const render = compileChatTemplate(plan.chatTemplate)
  const hash = createHash('sha256')
    .update(await readWhole(configPath))
    .digest('hex')
  const ending = extname(plan.outputPath)
  const names = instructionNames(stemOf(plan.sourcePath), stemOf(plan.outputPath), hash)
  const folder = join(dirname(plan.outputPath), names.folder)
  await mkdir(folder, { recursive: true })
  await copyFile(configPath, join(folder, names.templateConfig))
  const { train, val, test, seed } = plan.split ?? { train: 100, val: 0, test: 0, seed: 0 }
  const shares = Object.entries({ train, val, test })
  const random = pythonRandom(seed)
  const counts = new Map<string, number>()
  const files = new Map<string, OutputFile>()
  try {
    for (const [part, share] of shares) {
      if (share > 0) files.set(part, (await openOutput(join(folder, names.data(part, ending)), 'override'))!)
    }
    await eachLine(plan.sourcePath, async (line, where) => {
      const [part] = shares[random.choose(shares.map(([, share]) => share))]!
      counts.set(part, (counts.get(part) ?? 0) + 1)
      await files.get(part)!.write(Buffer.from(`${rendered(line, plan, render, where)}\n`))
    })
    for (const file of files.values()) await file.commit()
  } finally {
    for (const file of files.values()) await file.abandon()
  }
  return [...counts].map(([name, records]) => ({
    name,
    records,
    data: join(folder, names.data(name, ending)),
    index: join(folder, names.data(name, '.idx')),
    packed: join(folder, names.data(name, '.pbin')),
    packConfig: join(folder, names.packConfig(name)),
  }))
}

const stemOf = (path: string): string => basename(path, extname(path))

type Place = { readonly file: string; readonly line: number }

async function eachLine(path: string, visit: (line: string, where: Place) => Promise<void>): Promise<void> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  const lines = sink<LineBatch>('render-chat', async input => {
    for await (const batch of input) {
      for (let index = 0; index < batch.starts.length; index++) {
        const { record, file, line } = recordAt(batch, index)
        try {
          await visit(decoder.decode(record), { file, line })
        } catch (error) {
          throw toPenstockError(error, 'UTF8_INVALID', { file, line })
        }
      }
    }
  })
  await pipeline(readFile({ path }), readLines({ source: path }), lines)
}

/** The record with its roles renamed and its text under `chat`. */
function rendered(line: string, plan: ModalitiesInstructionPlan, render: ChatTemplate, where: Place): string {
  const entry = parsePythonJson(line)
  const messages = entry instanceof Map ? entry.get(plan.messagesKey) : undefined
  if (!(entry instanceof Map) || !Array.isArray(messages)) {
    throw new PenstockError('FIELD_MISSING', `the record has no list ${plan.messagesKey}`, where)
  }
  for (const message of messages) renameRoles(message, plan.roleMapping, where)
  try {
    entry.set('chat', render({ messages: plainJson(messages), chat_template_data: plan.chatTemplateData }))
  } catch (error) {
    throw new PenstockError('FIELD_NOT_TEXT', `the chat template fails: ${(error as Error).message}`, where, error)
  }
  return pythonJson(entry)
}

function renameRoles(message: PythonJson, mapping: Readonly<Record<string, string>>, where: Place): void {
  if (!(message instanceof Map)) throw new PenstockError('FIELD_MISSING', 'a message that is no object', where)
  for (const key of ['role', 'from']) {
    if (!message.has(key)) continue
    const role = message.get(key)
    if (typeof role !== 'string' || !Object.hasOwn(mapping, role)) {
      const known = Object.keys(mapping).join(', ')
      throw new PenstockError('FIELD_MISSING', `role_mapping has no role ${String(role)}; it has ${known}`, where)
    }
    message.set(key, mapping[role]!)
  }
}
