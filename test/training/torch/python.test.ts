/** Errors without a usable Python; runs without Python. */
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../stages/support.js'
import { openSmall } from './fixtures.js'

const folder = temporaryFolder()

function fakePython(script: string): string {
  const path = join(folder, `python-${script.length}`)
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
  return path
}

test('a missing Python, or one without torch, is reported with the remedy', async () => {
  const without = fakePython(`echo "ModuleNotFoundError: No module named 'torch'" >&2; exit 1`)
  for (const python of [without, join(folder, 'nowhere'), 'no-such-python-anywhere']) {
    await expect(openSmall('torch', 1, { torch: { python } })).rejects.toMatchObject({ code: 'PEER_MISSING' })
  }
})

test('the error contains the last output of torchrun', async () => {
  const python = fakePython('for line in 1 2 3; do echo "line $line" >&2; done; exit 3')
  await expect(openSmall('torch', 1, { torch: { python } })).rejects.toMatchObject({
    code: 'ENGINE_FAILED',
    message: expect.stringMatching(/exit code 3[\s\S]*line 2\nline 3/),
  })
})
