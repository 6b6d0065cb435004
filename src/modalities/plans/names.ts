/**
 * The names that the reference gives to runs, checkpoints and instruction data. Its tools take numbers out of them again, so
 * they are part of its formats. Hashes come as hexadecimal SHA-256 from the caller.
 */

/** `2026-11-24__23-15-02_0123456789abcdef`: local time, and 16 digits of the hash of the configuration's path as text. */
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

/** Folder of a distributed checkpoint. */
export function checkpointFolderName({ experimentId: id, ...numbers }: CheckpointNumbers): string {
  return `eid_${id}-${progressText(numbers)}`
}

/** File of a checkpoint in one piece. */
export function checkpointFileName(
  entity: 'model' | 'optimizer',
  { experimentId: id, ...numbers }: CheckpointNumbers,
): string {
  return `eid_${id}-${entity}-${progressText(numbers)}.bin`
}

function progressText({ seenSteps, seenTokens, targetSteps, targetTokens }: Omit<CheckpointNumbers, 'experimentId'>) {
  return `seen_steps_${seenSteps}-seen_tokens_${seenTokens}-target_steps_${targetSteps}-target_tokens_${targetTokens}`
}

/** Beside the checkpoints, so that a warmstart finds the last one; paths are absolute. */
export const LAST_CHECKPOINT_INFO = 'last_checkpoint_info.json'

export interface InstructionNames {
  /** Beside the destination that the configuration names. */
  readonly folder: string
  readonly templateConfig: string
  /** `part` is train, val or test; `suffix` .jsonl, .idx or .pbin. */
  readonly data: (part: string, suffix: string) => string
  readonly packConfig: (part: string) => string
}

/** Names of instruction data; they carry 7 digits of the hash of the configuration's bytes. */
export function instructionNames(sourceStem: string, outputStem: string, configHash: string): InstructionNames {
  const hash = configHash.slice(0, 7)
  return {
    folder: `${sourceStem}_${hash}`,
    templateConfig: `instruction_chat_template_config.${hash}.yaml`,
    data: (part, suffix) => `${outputStem}_${part}.${hash}${suffix}`,
    packConfig: part => `pbin_config_${part}.${hash}.yaml`,
  }
}
