/** What a run tells about its journal, as one line. */
import type { ResumeEvent } from '../pipelines/resume.js'
import { bytes } from './terminal.js'

export function resumeLine(event: ResumeEvent): string {
  switch (event.kind) {
    case 'continued':
      return `continued at ${place(event)}`
    case 'finished':
      return 'continued: everything was done, the outputs got their names'
    case 'anew':
      return `started anew, since what a killed run left is of no use: ${event.reason}`
    case 'kept':
      return `what is done is kept: the same command goes on at ${place(event)}`
  }
}

function place({ inputBytes, totalBytes }: { inputBytes: number; totalBytes: number | undefined }): string {
  return totalBytes === undefined ? bytes(inputBytes) : `${bytes(inputBytes)} of ${bytes(totalBytes)}`
}
