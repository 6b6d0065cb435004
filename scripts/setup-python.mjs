// Creates a Python environment in the user's cache folder and prints the path of its interpreter to stdout:
//   node scripts/setup-python.mjs peers|ray|s3|torch
// `torch` is the environment of `penstock setup torch`; `peers` has the programs that the tests compare with, `s3` an
// object store for them, `ray` the cluster of scripts/ray-check.mjs. Requires a build (node scripts/setup.mjs).
import { fileURLToPath } from 'node:url'
import { makeEnvironment, torchRequirements } from '../dist/training/torch/python-environment.js'

const requirements = {
  peers: fileURLToPath(new URL('requirements/peers.txt', import.meta.url)),
  ray: fileURLToPath(new URL('requirements/ray.txt', import.meta.url)),
  s3: fileURLToPath(new URL('requirements/s3.txt', import.meta.url)),
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
