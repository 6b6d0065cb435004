/** Which of many outputs a command writes, one pipeline for each: it continues with those that are missing. */
import { type IfExists, isPublished } from '../../files/output-file.js'

export async function missingOutputs(paths: Iterable<string>, ifExists: IfExists | undefined): Promise<string[]> {
  const missing: string[] = []
  for (const path of paths) if (ifExists === 'override' || !(await isPublished(path))) missing.push(path)
  return missing
}

/** The policy for each of them: a run that was killed while it renamed its outputs is finished, and those that exist are kept. */
export const policyOfEach = (ifExists: IfExists | undefined): IfExists =>
  ifExists === 'override' ? 'override' : 'skip'
