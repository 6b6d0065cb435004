/** Finds the Python interpreter with torch: option, environment variable, or the result of `penstock setup torch`. */
import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { PenstockError } from '../../errors.js'
import { findEnvironment, torchRequirements } from './python-environment.js'

/**
 * The interpreter to use.
 * @param wanted value of the option torch.python
 * @throws PEER_MISSING with the remedy
 */
export function findPython(wanted: string | undefined): string {
  const found =
    wanted ?? process.env.PENSTOCK_PYTHON ?? findEnvironment({ kind: 'torch', requirements: torchRequirements })
  // A name without a folder is searched on PATH when it is started.
  if (wanted !== undefined && basename(wanted) !== wanted && !existsSync(wanted)) {
    throw new PenstockError('PEER_MISSING', 'the Python interpreter does not exist', {
      file: wanted,
      path: 'torch.python',
    })
  }
  if (found === undefined) {
    const message = 'the torch engine needs Python with torch: run `penstock setup torch`, or set PENSTOCK_PYTHON'
    throw new PenstockError('PEER_MISSING', message, { path: 'torch.python' })
  }
  return found
}
