/** Signed requests to an S3-compatible store: where its buckets are, and what its errors mean. */
import { createHash } from 'node:crypto'
import { AwsV4Signer } from 'aws4fetch'
import { PenstockError } from '../../errors.js'
import { credentialsFor, forgetCredentials } from './aws-credentials.js'
import { endpointOfS3, selectedProfile } from './aws-profiles.js'
import { type HttpResponse, sendRequest, textOf } from './http-request.js'
import { withRetries } from './retries.js'

export interface S3Request {
  /** As the user wrote it, for errors. */
  readonly name: string
  readonly bucket: string
  readonly key?: string
  readonly method?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string
}

/** Regions of buckets that turned out not to be in the configured one. */
const regions = new Map<string, string>()
const MAX_CORRECTIONS = 3

/**
 * Sends a request, again where the store asks for it or where the region of the bucket differs from the configured one.
 * @param accepted statuses besides 2xx that are the caller's business
 * @throws FILE_MISSING for a missing object or bucket; FILE_UNREADABLE with the remedy for anything else
 */
export async function sendToS3(
  request: S3Request,
  accepted: readonly number[] = [],
  signal?: AbortSignal,
): Promise<HttpResponse> {
  for (let corrections = 0; ; corrections++) {
    const attempt = async () => ({ response: await sendRequest(await signed(request), signal) })
    const { response } = await withRetries(request.name, attempt, signal)
    const { status } = response
    if ((status >= 200 && status < 300) || accepted.includes(status)) return response
    const text = await textOf(response)
    if (corrections < MAX_CORRECTIONS && isCorrected(request, response, text)) continue
    throw errorOf(request, status, text)
  }
}

async function signed({ name, bucket, key = '', method = 'GET', query = {}, headers = {}, body }: S3Request) {
  const region = regionOf(bucket)
  const url = addressOf(bucket, key, query, region)
  const credentials = await credentialsFor(name)
  if (credentials === undefined) return { url, method, headers, body }
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  const hash = createHash('sha256').update(body ?? '')
  const signer = new AwsV4Signer({
    url,
    method,
    headers: { ...headers, 'x-amz-content-sha256': hash.digest('hex') },
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === undefined ? {} : { sessionToken }),
    service: 's3',
    region,
  })
  const result = await signer.sign()
  return { url: result.url, method, headers: Object.fromEntries(result.headers), body }
}

function regionOf(bucket: string): string {
  const { AWS_REGION, AWS_DEFAULT_REGION } = process.env
  return regions.get(bucket) ?? (AWS_REGION || AWS_DEFAULT_REGION || selectedProfile().region || 'us-east-1')
}

/** Buckets of AWS are hosts, except where a dot in the name does not fit the certificate; elsewhere they are folders. */
function addressOf(bucket: string, key: string, query: Readonly<Record<string, string>>, region: string): string {
  const path = key.split('/').map(encodePart).join('/')
  const search = new URLSearchParams(query).toString().replaceAll('+', '%20')
  const endpoint = endpointOfS3()
  const host = `s3.${region}.amazonaws.com`
  const base =
    endpoint === undefined && !bucket.includes('.')
      ? `https://${bucket}.${host}`
      : `${(endpoint ?? `https://${host}`).replace(/\/+$/, '')}/${bucket}`
  return `${base}/${path}${search === '' ? '' : `?${search}`}`
}

/** `encodeURIComponent`, and the characters that signatures encode in addition. */
const encodePart = (part: string): string =>
  encodeURIComponent(part).replace(/[!'()*]/g, character => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)

/** Whether a request that failed may succeed now: the region of the bucket is known, or the credentials were renewed. */
function isCorrected({ bucket }: S3Request, response: HttpResponse, text: string): boolean {
  const code = codeIn(text)
  if (code === 'ExpiredToken') {
    forgetCredentials()
    return true
  }
  const region = response.header('x-amz-bucket-region') ?? /<Region>([a-z0-9-]+)<\/Region>/.exec(text)?.[1]
  if (region === undefined || region === regionOf(bucket)) return false
  regions.set(bucket, region)
  return true
}

export const codeIn = (text: string): string | undefined => /<Code>([^<]+)<\/Code>/.exec(text)?.[1]

const REMEDIES: Readonly<Record<string, string>> = {
  SignatureDoesNotMatch:
    'the secret access key does not belong to the access key; check AWS_SECRET_ACCESS_KEY or the profile',
  InvalidAccessKeyId:
    'the store does not know the access key; check AWS_ACCESS_KEY_ID, the profile and AWS_ENDPOINT_URL',
  InvalidToken: 'the session token is not valid; check AWS_SESSION_TOKEN',
  ExpiredToken: 'the credentials have expired; get new ones',
  RequestTimeTooSkewed: 'the clock of this machine is wrong by more than 15 minutes',
  AccessDenied: 'access denied; the credentials need s3:GetObject and s3:ListBucket, and for outputs s3:PutObject',
  AuthorizationHeaderMalformed: 'the store expects another region; set AWS_REGION',
  PermanentRedirect: 'the bucket is in another region; set AWS_REGION',
}

function errorOf({ name, bucket }: S3Request, status: number, text: string): PenstockError {
  const code = codeIn(text)
  const where = { file: name }
  const detail = `${code === undefined ? '' : `${code}, `}HTTP status ${status}`
  if (code === 'NoSuchBucket') {
    return new PenstockError('FILE_MISSING', `no bucket ${bucket} at ${endpointOfS3() ?? 'AWS'} (${detail})`, where)
  }
  if (status === 404) return new PenstockError('FILE_MISSING', `no such object (${detail})`, where)
  if (status === 412) return new PenstockError('FILE_CHANGED', 'the object was replaced while it was read', where)
  const remedy = REMEDIES[code ?? ''] ?? (status === 403 ? REMEDIES.AccessDenied : undefined)
  return new PenstockError('FILE_UNREADABLE', `${remedy ?? 'the store refused the request'} (${detail})`, where)
}
