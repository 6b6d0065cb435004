import { describe, expect, it } from 'vitest'
import { numberInPath } from '#src/modalities/components/number-conversion'
import { checkpointFileName, checkpointFolderName, experimentId, instructionNames } from '#src/modalities/plans/names'

const numbers = { experimentId: 'run', seenSteps: 11, seenTokens: 45056, targetSteps: 20, targetTokens: 81920 }

describe('names of Modalities', () => {
  it('contain time and hash', () => {
    expect(experimentId(new Date(2026, 0, 2, 3, 4, 5), 'd91ea04'.padEnd(64, '0'))).toBe(
      '2026-01-02__03-04-05_d91ea04000000000',
    )
  })

  it('contain numbers that can be parsed again', () => {
    const folder = checkpointFolderName(numbers)
    expect(folder).toBe('eid_run-seen_steps_11-seen_tokens_45056-target_steps_20-target_tokens_81920')
    expect(numberInPath(`/x/${folder}`, 'seen_tokens')).toBe(45056)
    expect(checkpointFileName('model', numbers)).toBe(
      'eid_run-model-seen_steps_11-seen_tokens_45056-target_steps_20-target_tokens_81920.bin',
    )
  })

  it('distinguish the parts of instruction data', () => {
    const names = instructionNames('source', 'out', 'd91ea04ffff')
    expect(names.folder).toBe('source_d91ea04')
    expect(names.data('train', '.pbin')).toBe('out_train.d91ea04.pbin')
    expect(names.packConfig('val')).toBe('pbin_config_val.d91ea04.yaml')
  })
})
