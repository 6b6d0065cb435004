/** The backends that load on this machine; prints the missing ones, whose tests are skipped. */

import type { BackendName, ModelOptions } from '#src/training/options'
import { type Backend, openBackend } from '#src/training/tfjs/backends'
import { composedOperations, type Operations } from '#src/training/tfjs/operations'
import { openWasmOperations } from '#src/training/tfjs/wasm-operations'

export const allBackends = ['cpu', 'wasm', 'node', 'node-gpu', 'webgpu'] as const satisfies readonly BackendName[]

const opened = new Map<BackendName, Backend>()

/** Undefined if it does not load; prints the reason. */
export async function tryBackend(name: BackendName): Promise<Backend | undefined> {
  try {
    const backend = opened.get(name) ?? (await openBackend(name))
    opened.set(name, backend)
    await backend.activate()
    return backend
  } catch (error) {
    process.stderr.write(`The backend '${name}' is not tested: ${(error as Error).message}\n`)
    return undefined
  }
}

export interface OperationSet {
  readonly label: string
  readonly backend: Backend
  readonly operations: Operations
}

/** Every set of operations of the available backends that supports a model. */
export async function operationSets(model: ModelOptions): Promise<OperationSet[]> {
  const sets: OperationSet[] = []
  for (const name of allBackends) {
    const backend = await tryBackend(name)
    if (backend !== undefined) {
      sets.push({ label: `${name}, stock kernels`, backend, operations: composedOperations })
      const own = backend.operationsFor(model)
      if (own !== composedOperations) {
        sets.push({ label: name, backend, operations: own })
      }
      if (name === 'wasm') {
        const operations = (await openWasmOperations('plain'))!
        sets.push({ label: 'wasm, without fused multiply-add', backend, operations })
      }
    }
  }
  return sets
}
