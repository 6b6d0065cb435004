/** Checks a checkpoint: its state, its digest, the hash of each of its files. */
import { openCheckpoint } from '../training/checkpoint.js'
import { Findings, type Verdict } from './findings.js'

export async function verifyCheckpoint(path: string): Promise<Verdict> {
  const findings = new Findings()
  const checkpoint = await findings.of(() => openCheckpoint(path))
  const files = Object.values(checkpoint?.state.files ?? {})
  const counts = {
    step: checkpoint?.state.step ?? 0,
    files: files.length,
    bytes: files.reduce((sum, file) => sum + file.bytes, 0),
  }
  return { path, kind: 'checkpoint', counts, findings: findings.list }
}
