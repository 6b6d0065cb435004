/** Rejects flags that have no effect in the chosen mode of a command, instead of ignoring them. */
import { PenstockError } from '../../errors.js'

/**
 * @param names keys of `flags` that the mode does not use
 * @param reason completes "--flag has no effect", such as "without --engine torch"
 * @throws ARGUMENT_INVALID if one of the flags is given
 */
export function rejectUnused(flags: object, names: readonly string[], reason: string): void {
  const values = flags as Readonly<Record<string, unknown>>
  const given = names.filter(name => values[name] !== undefined).map(flagName)
  if (given.length === 0) return
  throw new PenstockError(
    'ARGUMENT_INVALID',
    `${given.join(', ')} ${given.length === 1 ? 'has' : 'have'} no effect ${reason}`,
  )
}

/** `maxRestarts` -> `--max-restarts`; Modalities' flags keep their underscores. */
function flagName(key: string): string {
  return `--${key.replaceAll(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`
}
