/** Errors in configurations, all with file, line, column and the path of the value. */
import { type ErrorCode, PenstockError } from '../../errors.js'
import type { Place } from './yaml-tree.js'

export type ConfigPath = readonly (string | number)[]

/** `settings.paths.train`, `qkv_transforms[0].config`. */
export function pathText(path: ConfigPath): string {
  return path.map((step, at) => (typeof step === 'number' ? `[${step}]` : at === 0 ? step : `.${step}`)).join('')
}

export function configError(
  message: string,
  file: string,
  path: ConfigPath,
  place: Place,
  code: ErrorCode = 'CONFIG_INVALID',
): PenstockError {
  return new PenstockError(code, message, { file, ...place, ...(path.length === 0 ? {} : { path: pathText(path) }) })
}
