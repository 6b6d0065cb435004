/** Commands of the reference system that have no counterpart: they say so, and what does their work. */
import type { Command } from 'commander'
import { PenstockError } from '../errors.js'

const NOT_HERE = {
  profile: 'steps are not profiled here: monitoring: { trace: true } writes a trace that Chrome shows',
} as const

export function addCommandsNotHere(program: Command): void {
  for (const [name, instead] of Object.entries(NOT_HERE)) {
    program
      .command(name, { hidden: true })
      .argument('[arguments...]')
      .allowUnknownOption()
      .action(() => {
        throw new PenstockError('UNSUPPORTED', instead)
      })
  }
}
