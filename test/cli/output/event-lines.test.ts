import { expect, it } from 'vitest'
import { resumeLine } from '#src/cli/output/event-lines'

it('says where a run goes on, and of how much where that can be told', () => {
  expect(resumeLine({ kind: 'continued', inputBytes: 1.2e9, totalBytes: 4e9 })).toBe('continued at 1.2 GB of 4.0 GB')
  expect(resumeLine({ kind: 'continued', inputBytes: 12e6, totalBytes: undefined })).toBe('continued at 12.0 MB')
  expect(resumeLine({ kind: 'kept', inputBytes: 12e6, totalBytes: 24e6 })).toContain('at 12.0 MB of 24.0 MB')
  expect(resumeLine({ kind: 'anew', reason: 'the file changed' })).toContain('the file changed')
})
