/** The commit of each revision of a data set in this process; the journal keeps them for a run that is resumed. */
import type { RemoteName } from './remote-name.js'

/** By `hf://datasets/ORG/SET@REVISION`. */
export const commits = new Map<string, string>()

export const revisionName = ({ dataset, revision }: RemoteName & { readonly kind: 'hub' }): string =>
  `hf://datasets/${dataset}@${revision}`
