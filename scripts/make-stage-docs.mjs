// Generates docs/stages.md from the schemas that validate the options of stages. A test compares the two.
//
// node scripts/make-stage-docs.mjs
import { writeFileSync } from 'node:fs'
import { stageReference } from '../dist/cli/actions/describe.js'

writeFileSync(new URL('../docs/stages.md', import.meta.url), stageReference())
