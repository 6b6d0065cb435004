/** Names of files elsewhere: `s3://BUCKET/KEY`, `hf://datasets/ORG/SET[@REV]/PATH`, `https://HOST/PATH`. */
import { PenstockError } from '../../errors.js'

export type RemoteName =
  | { readonly kind: 's3'; readonly name: string; readonly bucket: string; readonly key: string }
  | {
      readonly kind: 'hub'
      readonly name: string
      /** `ORG/SET`, or `SET` alone for data sets without an organization. */
      readonly dataset: string
      /** Branch, tag or commit; `main` by default. */
      readonly revision: string
      readonly path: string
    }
  | { readonly kind: 'https'; readonly name: string }

/** Whether a name is that of a file outside the local file systems. */
export const isRemote = (name: string): boolean => /^(s3|hf|https?):\/\//.test(name)

/** @throws ARGUMENT_INVALID for an incomplete name, or one that contains a secret */
export function parseRemoteName(name: string): RemoteName {
  if (name.startsWith('s3://')) return parseS3Name(name)
  if (name.startsWith('hf://')) return parseHubName(name)
  return parseAddress(name)
}

function parseS3Name(name: string): RemoteName & { kind: 's3' } {
  const [bucket = '', ...key] = name.slice('s3://'.length).split('/')
  if (!/^[a-z0-9][a-z0-9._-]{1,62}$/i.test(bucket)) {
    throw new PenstockError('ARGUMENT_INVALID', 'expected s3://BUCKET/KEY, with a bucket of 3 to 63 characters', {
      file: name,
    })
  }
  return { kind: 's3', name, bucket, key: key.join('/') }
}

function parseHubName(name: string): RemoteName {
  const match = /^hf:\/\/datasets\/([^@/]+(?:\/[^@/]+)?)(?:@([^/]+))?(?:\/(.*))?$/.exec(name)
  const [, dataset, revision, path = ''] = match ?? []
  if (dataset === undefined) {
    throw new PenstockError('ARGUMENT_INVALID', 'expected hf://datasets/ORG/SET[@REVISION]/PATH', { file: name })
  }
  // A branch such as refs/convert/parquet is written refs%2Fconvert%2Fparquet.
  return { kind: 'hub', name, dataset, revision: decodeURIComponent(revision ?? 'main'), path }
}

function parseAddress(name: string): RemoteName {
  const address = URL.canParse(name) ? new URL(name) : undefined
  const shown = name.replace(/[?#].*$/s, '').replace(/\/\/[^/]*@/, '//')
  if (address === undefined) throw new PenstockError('ARGUMENT_INVALID', 'not a valid address', { file: shown })
  if (address.username !== '' || address.search !== '') {
    const message =
      'addresses with a password or a query may contain secrets, which manifests and logs would record: download the file, or name it by s3:// or hf://'
    throw new PenstockError('ARGUMENT_INVALID', message, { file: shown })
  }
  return { kind: 'https', name }
}

/** The name of another file of the same bucket or data set. */
export function withPath(place: RemoteName & { kind: 's3' | 'hub' }, path: string): string {
  if (place.kind === 's3') return `s3://${place.bucket}/${path}`
  const revision = place.revision === 'main' ? '' : `@${encodeURIComponent(place.revision)}`
  return `hf://datasets/${place.dataset}${revision}/${path}`
}
