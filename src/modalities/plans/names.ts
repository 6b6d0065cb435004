/**
 * Names that Modalities gives to runs, checkpoints and instruction data. Its tools parse numbers from them, so they are
 * part of its formats. The caller passes hashes as hexadecimal SHA-256.
 */

/** `2026-11-24__23-15-02_0123456789abcdef`: local time, and the first 16 digits of the hash of the configuration's path. */
export function experimentId(started: Date, pathHash: string): string {
  return `${timestamp(started)}_${pathHash.slice(0, 16)}`
}

/** `2026-11-24__23-15-02`, local time. */
export function timestamp(at: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join('-')
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join('-')
  return `${day}__${time}`
}

export interface CheckpointNumbers {
  readonly experimentId: string
  readonly seenSteps: number
  readonly seenTokens: number
  readonly targetSteps: number
  readonly targetTokens: number
}

/** Folder name of a distributed checkpoint. */
export function checkpointFolderName({ experimentId: id, ...numbers }: CheckpointNumbers): string {
  return `eid_${id}-${progressText(numbers)}`
}

/** File name of an unsharded checkpoint. */
export function checkpointFileName(
  entity: 'model' | 'optimizer',
  { experimentId: id, ...numbers }: CheckpointNumbers,
): string {
  return `eid_${id}-${entity}-${progressText(numbers)}.bin`
}

function progressText({ seenSteps, seenTokens, targetSteps, targetTokens }: Omit<CheckpointNumbers, 'experimentId'>) {
  return `seen_steps_${seenSteps}-seen_tokens_${seenTokens}-target_steps_${targetSteps}-target_tokens_${targetTokens}`
}

/** File in the checkpoint folder with the absolute path of the newest checkpoint, for a warmstart. */
export const LAST_CHECKPOINT_INFO = 'last_checkpoint_info.json'

export interface InstructionNames {
  /** Subfolder of the destination folder in the configuration. */
  readonly folder: string
  readonly templateConfig: string
  /** `part` is train, val or test; `suffix` .jsonl, .idx or .pbin. */
  readonly data: (part: string, suffix: string) => string
  readonly packConfig: (part: string) => string
}

/** Names of instruction data; they contain the first 7 digits of the configuration's hash. */
export function instructionNames(sourceStem: string, outputStem: string, configHash: string): InstructionNames {
  const hash = configHash.slice(0, 7)
  return {
    folder: `${sourceStem}_${hash}`,
    templateConfig: `instruction_chat_template_config.${hash}.yaml`,
    data: (part, suffix) => `${outputStem}_${part}.${hash}${suffix}`,
    packConfig: part => `pbin_config_${part}.${hash}.yaml`,
  }
}
