import { Argument, type Command } from 'commander'

export function addSetupCommand(program: Command): void {
  program
    .command('setup')
    .summary('install what is optional')
    .description(
      'Makes a Python environment with torch in the cache folder, for `train --engine torch`, and prints the path of its interpreter. Python 3.10 or newer must be there; PENSTOCK_PYTHON names another than python3.',
    )
    .addArgument(new Argument('<what>', 'what to install').choices(['torch']))
    .addHelpText('after', '\nExample:\n  penstock setup torch\n')
    .action(async (kind: string) => {
      const { makeEnvironment, torchRequirements } = await import('../training/torch/python-environment.js')
      const environment = { kind, requirements: torchRequirements }
      const python = makeEnvironment(environment, step => process.stderr.write(`${step} ...\n`))
      process.stdout.write(`${python}\n`)
    })
}
