// Whether node_modules holds what package-lock.json names, by the list of installed packages that npm writes there.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * True when every package of the lock file is installed with the same version and integrity. Optional packages may be
 * missing, since most are for other platforms. The root package does not count: a new version of it installs nothing.
 */
export function isInstalled(root) {
  const list = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(list)) return false
  const installed = packagesOf(list)
  return Object.entries(packagesOf(join(root, 'package-lock.json'))).every(([path, locked]) => {
    const found = installed[path]
    if (path === '' || (found === undefined && locked.optional)) return true
    return found?.version === locked.version && found?.integrity === locked.integrity
  })
}

const packagesOf = file => JSON.parse(readFileSync(file, 'utf8')).packages
