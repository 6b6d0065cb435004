/** Processor time of this process and of those that it started. */
import { readdirSync, readFileSync } from 'node:fs'

/** Seconds of this process and its descendants. */
export function allProcessorSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6 + descendantProcessorSeconds()
}

/** Seconds of all descendants, from /proc in steps of 10 ms; 0 on systems other than Linux. */
export function descendantProcessorSeconds(): number {
  if (process.platform !== 'linux') return 0
  const processes = readdirSync('/proc').flatMap(name => {
    try {
      // The program name, in parentheses, can contain any character.
      const fields = readFileSync(`/proc/${name}/stat`, 'latin1').split(') ').at(-1)!.split(' ')
      return [{ pid: Number(name), parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) }]
    } catch {
      return []
    }
  })
  const below = (pid: number): number =>
    processes.filter(({ parent }) => parent === pid).reduce((sum, child) => sum + child.ticks + below(child.pid), 0)
  return below(process.pid) / 100
}
