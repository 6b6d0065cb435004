/**
 * Loads files of @tensorflow/tfjs-node from the cache folder against this process's tfjs-core: loaded normally, the package
 * would bring a second copy and register its backend there. Its CommonJS files therefore get a custom `require`, which
 * also restores two functions of `util` that newer versions of Node lack and omits the dependencies of the image and
 * TensorBoard functions.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import * as util from 'node:util'
import { compileFunction } from 'node:vm'

type Require = (name: string) => unknown

const nodeRequire = createRequire(import.meta.url)

const substitutes: ReadonlyMap<string, () => unknown> = new Map([
  // The package of all parts of TensorFlow.js; the kernels only use the core.
  ['@tensorflow/tfjs', () => nodeRequire('@tensorflow/tfjs-core')],
  ['util', () => ({ ...util, isArray: Array.isArray, isNullOrUndefined: (value: unknown) => value == null })],
  ['./proto/api_pb', () => ({})],
])

/** A `require` for the files of a package's folder. */
export function packageRequire(folder: string): Require {
  const loaded = new Map<string, { exports: unknown }>()
  const load = (file: string): unknown => {
    const known = loaded.get(file)
    if (known !== undefined) {
      return known.exports
    }
    const module = { exports: {} }
    loaded.set(file, module)
    const parameters = ['exports', 'require', 'module', '__filename', '__dirname']
    const body = compileFunction(readFileSync(file, 'utf8'), parameters, { filename: file })
    body(module.exports, requireFrom(dirname(file)), module, file, dirname(file))
    return module.exports
  }
  const requireFrom =
    (from: string): Require =>
    name => {
      const substitute = substitutes.get(name)
      if (substitute !== undefined) {
        return substitute()
      }
      return name.startsWith('.') ? load(`${join(from, name).replace(/\.js$/, '')}.js`) : nodeRequire(name)
    }
  return requireFrom(folder)
}
