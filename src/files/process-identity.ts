/**
 * Identity of a process across machines and containers. A pid alone is ambiguous: pids are reused, each pid namespace has
 * its own, and so has each machine.
 */
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import * as z from 'zod'

export const processSchema = z.object({
  host: z.string(),
  /** Boot id and pid namespace; absent where /proc is. */
  boot: z.string().optional(),
  namespace: z.string().optional(),
  pid: z.int(),
  /** Start time in clock ticks since boot; absent where /proc is. */
  start: z.string().optional(),
})
export type ProcessIdentity = z.output<typeof processSchema>

let own: ProcessIdentity | undefined

export function ownIdentity(): ProcessIdentity {
  own ??= readOwnIdentity()
  return own
}

function readOwnIdentity(): ProcessIdentity {
  const boot = ifReadable(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
  const namespace = ifReadable(() => readlinkSync('/proc/self/ns/pid'))
  const start = stateOf(process.pid)?.start
  return {
    host: hostname(),
    ...(boot === undefined ? {} : { boot }),
    ...(namespace === undefined ? {} : { namespace }),
    pid: process.pid,
    ...(start === undefined ? {} : { start }),
  }
}

/** Whether a process runs, as far as this one can tell: not from another machine or pid namespace. */
export function isRunning(found: ProcessIdentity): 'yes' | 'no' | 'unknown' {
  const { host, boot, namespace } = ownIdentity()
  if (found.host !== host || found.boot !== boot || found.namespace !== namespace) return 'unknown'
  if (!respondsToSignals(found.pid)) return 'no'
  const state = stateOf(found.pid)
  // Without a start time the pid may have been reused.
  if (state === undefined || found.start === undefined) return 'unknown'
  return state.start === found.start && !state.isZombie ? 'yes' : 'no'
}

/** A process for messages. */
export function describeProcess(found: ProcessIdentity): string {
  const { host, boot, namespace } = ownIdentity()
  const isHere = found.host === host && found.boot === boot
  if (isHere && found.namespace === namespace) return `process ${found.pid}`
  return isHere ? `process ${found.pid} in another container` : `process ${found.pid} on ${found.host}`
}

function stateOf(pid: number): { start: string; isZombie: boolean } | undefined {
  const status = ifReadable(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  if (status === undefined) return undefined
  // The name in parentheses may contain spaces; after it come the state and, as the twentieth field, the start time.
  const fields = status.slice(status.lastIndexOf(')') + 2).split(' ')
  return { start: fields[19]!, isZombie: fields[0] === 'Z' }
}

function ifReadable(read: () => string): string | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function respondsToSignals(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
