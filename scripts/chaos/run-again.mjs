/**
 * Runs command lines sent by the parent, in order, in one process, which saves the start-up time of a process per command.
 * Each command starts with fresh argument parsing; only the loaded modules are shared.
 */
import { pathToFileURL } from 'node:url'

let said = ''
process.stderr.write = text => {
  said += text
  return true
}
process.stdout.write = () => true
// Each run of a command adds its own listeners.
for (const emitter of [process, process.stdout, process.stderr]) emitter.setMaxListeners(0)

let round = 0
process.on('message', async args => {
  said = ''
  process.exitCode = 0
  process.argv = [process.execPath, ...args]
  await import(`${pathToFileURL(args[0]).href}?round=${round++}`)
  process.send({ code: process.exitCode, err: said })
})
