import { Argument, type Command } from 'commander'
import { printOutput, printStatus } from '../output/print.js'
import { rejectUnused } from '../output/unused-flags.js'

export function addSetupCommand(program: Command): void {
  program
    .command('setup')
    .summary('install an optional component')
    .description(
      [
        'Installs an optional component in the cache folder and prints its path; does nothing if it is already installed.',
        'Packages are downloaded from the indexes that pip and npm are configured to use.',
        '',
        '  torch          a Python environment with torch, for train --engine torch',
        '                 (uses python3, or the interpreter in PENSTOCK_PYTHON)',
        '  tfjs-node      the native TensorFlow library, for train --backend node',
        '                 (needs Linux x64 and a C++ compiler)',
        '  tfjs-node-gpu  the same for NVIDIA GPUs, for train --backend node-gpu',
      ].join('\n'),
    )
    .addArgument(new Argument('<what>', 'component to install').choices(['torch', 'tfjs-node', 'tfjs-node-gpu']))
    .option('--check', 'only check what tfjs-node or tfjs-node-gpu needs on this machine; works offline')
    .addHelpText('after', '\nExample:\n  penstock setup torch\n')
    .action(async (what: 'torch' | 'tfjs-node' | 'tfjs-node-gpu', flags: { readonly check?: boolean }) => {
      if (what === 'torch') rejectUnused(flags, ['check'], 'with torch')
      const kind = what === 'tfjs-node' ? 'node' : 'node-gpu'
      if (flags.check) {
        const { requirePreconditions } = await import('../../training/tfjs/native/install.js')
        await requirePreconditions(kind)
        return printOutput(`everything that setup ${what} needs is here, except its downloads\n`)
      }
      const path = what === 'torch' ? await setUpTorch() : await setUpNative(kind)
      printOutput(`${path}\n`)
    })
}

async function setUpTorch(): Promise<string> {
  const { makeEnvironment, torchRequirements } = await import('../../training/torch/python-environment.js')
  const environment = { kind: 'torch', requirements: torchRequirements }
  return makeEnvironment(environment, step => printStatus(`${step} ...\n`))
}

async function setUpNative(kind: 'node' | 'node-gpu'): Promise<string> {
  const { installNativeBackend } = await import('../../training/tfjs/native/install.js')
  const { folder, made } = await installNativeBackend(kind, (what, seconds) => {
    printStatus(seconds === undefined ? `${what} ...\n` : `${what}: ${seconds.toFixed(1)} s\n`)
  })
  printStatus(`${made ? 'Installed' : 'Already installed'}; use it with train --backend ${kind}\n`)
  return folder
}
