import type { Command } from 'commander'

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .summary('check this machine, and say how to mend what is missing')
    .description('Checks Node, the processor, the package, Python, torch, GPUs and disks. Changes nothing.')
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExample:\n  penstock doctor\n')
    .action(async ({ json }: { json?: boolean }) => {
      const { examine } = await import('../actions/doctor.js')
      const findings = await examine()
      const width = Math.max(...findings.map(({ what }) => what.length))
      const lines = findings.map(({ state, what, found, mend }) => {
        const remedy = mend === undefined ? '' : `\n${' '.repeat(width + 11)}-> ${mend}`
        return `${state.padEnd(8)} ${what.padEnd(width)}  ${found}${remedy}`
      })
      process.stdout.write(json ? `${JSON.stringify(findings, null, 2)}\n` : `${lines.join('\n')}\n`)
      if (findings.some(({ state }) => state === 'problem')) process.exitCode = 1
    })
}
