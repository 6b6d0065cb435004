import { expect, it } from 'vitest'
import { resumeLine, trainingLine } from '#src/cli/output/event-lines'
import { quantity } from '#src/cli/output/terminal'

it('shows where a run resumes, and the total size if it is known', () => {
  expect(resumeLine({ kind: 'continued', inputBytes: 1.2e9, totalBytes: 4e9 })).toBe('resuming at 1.2 GB of 4.0 GB')
  expect(resumeLine({ kind: 'continued', inputBytes: 12e6, totalBytes: undefined })).toBe('resuming at 12.0 MB')
  expect(resumeLine({ kind: 'kept', inputBytes: 12e6, totalBytes: 24e6 })).toContain('at 12.0 MB of 24.0 MB')
  expect(resumeLine({ kind: 'anew', reason: 'the file changed' })).toContain('the file changed')
})

it('shows the result of a training with its model and the next command', () => {
  const summary = { step: 1200, totalSteps: 4000, consumedTokens: 0, loss: 2.5, heldOutLoss: 2, checkpoint: 'c/step-1' }
  expect(trainingLine({ kind: 'end', reason: 'completed', ...summary, step: 4000 })).toBe(
    '  training finished: 4,000 of 4,000 steps, loss 2.5000, held-out loss 2.0000 (perplexity 7.4)\n  model: c/step-1\n  next: penstock generate c/step-1 --prompt TEXT',
  )
  expect(trainingLine({ kind: 'end', reason: 'stopped', ...summary })).toContain(
    'training stopped: 1,200 of 4,000 steps, loss 2.5000, held-out loss 2.0000 (perplexity 7.4)\n  model: c/step-1\n  next: run the same command to resume',
  )
  expect(trainingLine({ kind: 'end', reason: 'completed', ...summary, step: 4000, loss: undefined })).toMatch(
    /^ {2}nothing to do, 4,000 of 4,000 steps, /,
  )
})

it('writes amounts with separators and in the singular or plural', () => {
  expect([0, 1, 1234].map(value => quantity(value, 'step'))).toEqual(['0 steps', '1 step', '1,234 steps'])
  expect(trainingLine({ kind: 'compiling' })).toMatch(/^ {2}compiling: /)
})
