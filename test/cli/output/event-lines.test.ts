import { expect, it } from 'vitest'
import { resumeLine } from '#src/cli/output/event-lines'

it('shows where a run resumes, and the total size if it is known', () => {
  expect(resumeLine({ kind: 'continued', inputBytes: 1.2e9, totalBytes: 4e9 })).toBe('resuming at 1.2 GB of 4.0 GB')
  expect(resumeLine({ kind: 'continued', inputBytes: 12e6, totalBytes: undefined })).toBe('resuming at 12.0 MB')
  expect(resumeLine({ kind: 'kept', inputBytes: 12e6, totalBytes: 24e6 })).toContain('at 12.0 MB of 24.0 MB')
  expect(resumeLine({ kind: 'anew', reason: 'the file changed' })).toContain('the file changed')
})
