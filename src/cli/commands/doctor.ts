import type { Command } from 'commander'
import { printOutput } from '../output/print.js'

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .summary('check this machine and suggest fixes for problems')
    .description(
      'Checks Node.js, the processor, memory, the package, Python, torch, GPUs and disk space. Changes nothing.',
    )
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExample:\n  penstock doctor\n')
    .action(async ({ json }: { json?: boolean }) => {
      const { examine } = await import('../actions/doctor.js')
      const findings = await examine()
      const width = Math.max(...findings.map(({ what }) => what.length))
      const lines = findings.map(({ state, what, found, remedy }) => {
        const fix = remedy === undefined ? '' : `\n${' '.repeat(width + 11)}-> ${remedy}`
        return `${state.padEnd(8)} ${what.padEnd(width)}  ${found}${fix}`
      })
      printOutput(json ? `${JSON.stringify(findings, null, 2)}\n` : `${lines.join('\n')}\n`)
      if (findings.some(({ state }) => state === 'problem')) process.exitCode = 1
    })
}
