/** Finds the Python that has torch: an option, the environment, or what `penstock setup torch` made. */
import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { PenstockError } from '../../errors.js'
import { findEnvironment, torchRequirements } from './python-environment.js'

/**
 * The interpreter to use.
 * @param wanted the user's option
 * @throws PEER_MISSING with the command that helps
 */
export function findPython(wanted: string | undefined): string {
  const found =
    wanted ?? process.env.PENSTOCK_PYTHON ?? findEnvironment({ kind: 'torch', requirements: torchRequirements })
  // A name without a folder is looked up by the system when it is started.
  if (wanted !== undefined && basename(wanted) !== wanted && !existsSync(wanted)) {
    throw new PenstockError('PEER_MISSING', 'there is no such interpreter', { file: wanted, path: 'torch.python' })
  }
  if (found === undefined) {
    const message = 'the torch engine needs Python with torch: run `penstock setup torch`, or set PENSTOCK_PYTHON'
    throw new PenstockError('PEER_MISSING', message, { path: 'torch.python' })
  }
  return found
}
