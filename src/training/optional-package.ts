/**
 * Optional packages: looked for beside this one, as a project installs them, then in the project that the user stands in
 * and in the folder that PENSTOCK_PEERS names, so that a program installed for the whole machine finds them too.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { PenstockError } from '../errors.js'

/** A version is given where no other will do. */
export interface Peer {
  readonly name: string
  readonly version?: string
}

/**
 * The file that a package starts with.
 * @throws PEER_MISSING with the command that installs all of them
 */
export function resolveOptionalPackage({ name }: Peer, all: readonly Peer[]): string {
  const folders = [process.cwd(), process.env.PENSTOCK_PEERS].filter(folder => folder !== undefined)
  const places = [import.meta.url, ...folders.map(folder => join(folder, 'package.json'))]
  for (const place of places) {
    try {
      return createRequire(place).resolve(name)
    } catch {
      // Not here; the last place decides.
    }
  }
  const wanted = all.map(peer => (peer.version === undefined ? peer.name : `${peer.name}@${peer.version}`))
  throw new PenstockError('PEER_MISSING', `${name} is not installed: npm install ${wanted.join(' ')}`)
}
