// Makes a Python environment in the user's cache folder and prints the path of its interpreter on stdout:
//   node scripts/setup-python.mjs peers|torch
// The same as `penstock setup torch`, and the environment of the judges beside it. Needs a build (node scripts/setup.mjs).
import { fileURLToPath } from 'node:url'
import { makeEnvironment, torchRequirements } from '../dist/training/torch/python-environment.js'

const requirements = {
  peers: fileURLToPath(new URL('requirements/peers.txt', import.meta.url)),
  torch: torchRequirements,
}
const kind = process.argv[2] ?? ''
if (!Object.hasOwn(requirements, kind)) {
  process.stderr.write(`Usage: node scripts/setup-python.mjs ${Object.keys(requirements).join('|')}\n`)
  process.exit(2)
}
try {
  const environment = { kind, requirements: requirements[kind] }
  process.stdout.write(`${makeEnvironment(environment, step => process.stderr.write(`${step} ...\n`))}\n`)
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
}
