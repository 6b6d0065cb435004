/**
 * Resolves optional packages: first as a dependency of the project that installed this package, then from the working
 * directory, then from the folder in PENSTOCK_PEERS, so that a globally installed command finds them too.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { PenstockError } from '../errors.js'

/** The version is set where only that version works. */
export interface Peer {
  readonly name: string
  readonly version?: string
}

/**
 * Path of a package's entry file.
 * @throws PEER_MISSING with the command that installs all packages in `all`
 */
export function resolveOptionalPackage({ name }: Peer, all: readonly Peer[]): string {
  const folders = [process.cwd(), process.env.PENSTOCK_PEERS].filter(folder => folder !== undefined)
  const places = [import.meta.url, ...folders.map(folder => join(folder, 'package.json'))]
  for (const place of places) {
    try {
      return createRequire(place).resolve(name)
    } catch {
      // Try the next place.
    }
  }
  const wanted = all.map(peer => (peer.version === undefined ? peer.name : `${peer.name}@${peer.version}`))
  throw new PenstockError('PEER_MISSING', `${name} is not installed: npm install ${wanted.join(' ')}`)
}
