/** Shared by all commands: exit codes and number formatting. */
import { CONFIGURATION_ERRORS, PenstockError } from '../../errors.js'
import { stopExitCode } from './signals.js'

export { count, quantity } from '../../formats/message-words.js'

export function exitCodeOf(error: unknown): number {
  return stopExitCode() ?? (error instanceof PenstockError && CONFIGURATION_ERRORS.includes(error.code) ? 2 : 1)
}

/** Bytes in decimal units, as is usual for disks and networks. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let unit = 0
  let amount = value
  while (amount >= 1000 && unit < units.length - 1) {
    amount /= 1000
    unit++
  }
  return `${unit === 0 || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${units[unit]}`
}

/** 75 s -> 1:15 */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000)
  const minutes = Math.floor(seconds / 60)
  const pad = (value: number): string => String(value).padStart(2, '0')
  if (minutes < 60) return `${minutes}:${pad(seconds % 60)}`
  return `${Math.floor(minutes / 60)}:${pad(minutes % 60)}:${pad(seconds % 60)}`
}

/** Parses an option that takes a non-negative integer. @throws ARGUMENT_INVALID */
export function wholeNumber(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new PenstockError('ARGUMENT_INVALID', `expected a non-negative integer, found ${JSON.stringify(text)}`)
}

export function positiveInteger(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 1) return value
  throw new PenstockError('ARGUMENT_INVALID', `expected a positive integer, found ${JSON.stringify(text)}`)
}

/** A fraction from 0 to 1. */
export const share = (text: string): number => numberIn(text, 0, 1)

export const numberAtLeast =
  (minimum: number) =>
  (text: string): number =>
    numberIn(text, minimum, Number.POSITIVE_INFINITY)

function numberIn(text: string, minimum: number, maximum: number): number {
  const value = Number(text)
  if (text.trim() !== '' && value >= minimum && value <= maximum && Number.isFinite(value)) return value
  const range = maximum === Number.POSITIVE_INFINITY ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`
  throw new PenstockError('ARGUMENT_INVALID', `expected a number ${range}, found ${JSON.stringify(text)}`)
}
