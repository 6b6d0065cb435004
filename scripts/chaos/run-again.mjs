/**
 * Runs command lines one after the other in one process, as its parent asks for them: what a process costs to start is
 * then paid once. Each is the command as it is, from the reading of its arguments on; only the modules below it stay.
 */
import { pathToFileURL } from 'node:url'

let said = ''
process.stderr.write = text => {
  said += text
  return true
}
process.stdout.write = () => true
// Each round of a command listens anew.
for (const emitter of [process, process.stdout, process.stderr]) emitter.setMaxListeners(0)

let round = 0
process.on('message', async args => {
  said = ''
  process.exitCode = 0
  process.argv = [process.execPath, ...args]
  await import(`${pathToFileURL(args[0]).href}?round=${round++}`)
  process.send({ code: process.exitCode, err: said })
})
