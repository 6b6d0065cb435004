/**
 * Signals. Ctrl-C, SIGTERM, SIGHUP (a closed terminal), SIGUSR1 and SIGUSR2 (sent by schedulers before a time limit) all
 * stop a run in the same way: it saves its progress and ends with 128 + the signal's number. The main module imports this
 * one first, because Node starts its debugger on a SIGUSR1 without a handler.
 */
import { close as closeDebugger, url as debuggerUrl } from 'node:inspector'
import { constants } from 'node:os'
import { notify } from './notices.js'

const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const
type StopSignal = (typeof STOP_SIGNALS)[number]

let stopping: AbortSignal | undefined
let stoppedBy: StopSignal | undefined

process.on('SIGUSR1', terminate)
if (debuggerUrl() !== undefined && !isDebuggerRequested()) {
  // SIGUSR1 arrived before this module was loaded.
  closeDebugger()
  process.kill(process.pid, 'SIGUSR1')
}

function isDebuggerRequested(): boolean {
  return [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some(option => option.includes('--inspect'))
}

/** Ends the process by the default action of a signal. `exit` would wait for reads that block a thread. */
function terminate(name: NodeJS.Signals): void {
  process.removeAllListeners(name)
  process.kill(process.pid, name)
}

/**
 * An AbortSignal that fires at the first stop signal. A second one ends the process immediately, which is safe because
 * every unfinished output still has its temporary name.
 */
export function stopSignal(): AbortSignal {
  stopping ??= listenForSignals()
  return stopping
}

function listenForSignals(): AbortSignal {
  const abort = new AbortController()
  const onSignal = (name: NodeJS.Signals): void => {
    if (stoppedBy !== undefined) {
      // After the exit listeners of the process, which end its child processes.
      process.on('exit', () => terminate(name))
      process.exit(exitCodeOfSignal(name as StopSignal))
    }
    stoppedBy = name as StopSignal
    notify('\npenstock: stopping; press Ctrl-C again to stop immediately', { event: 'stopping', signal: name })
    abort.abort()
  }
  process.removeListener('SIGUSR1', terminate)
  for (const name of STOP_SIGNALS) process.on(name, onSignal)
  return abort.signal
}

const exitCodeOfSignal = (name: StopSignal): number => 128 + constants.signals[name]

/** 128 + the number of the signal that stopped the run; undefined without one. */
export function stopExitCode(): number | undefined {
  return stoppedBy === undefined ? undefined : exitCodeOfSignal(stoppedBy)
}

/** Sets the exit code after a signal ended a run cleanly, such as a training run that saved a checkpoint first. */
export function setExitCodeIfStopped(): void {
  const code = stopExitCode()
  if (code !== undefined) process.exitCode = code
}
