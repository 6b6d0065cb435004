/**
 * Credentials for object stores, from where users have them, in the order of the AWS tools: environment variables, the
 * profiles in `~/.aws`, a web identity (EKS), the endpoint of a container (ECS, EKS), the metadata service of an instance.
 * They stay in memory and never appear in errors.
 */
import { readFile } from 'node:fs/promises'
import * as z from 'zod'
import { PenstockError, toPenstockError } from '../../errors.js'
import { profileName, selectedProfile } from './aws-profiles.js'
import { type HttpRequest, sendRequest, textOf } from './http-request.js'
import { withRetries } from './retries.js'

export interface Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
  /** Milliseconds since 1970; undefined for credentials that do not expire. */
  readonly expiresAt?: number | undefined
}

/** Credentials are renewed this long before they expire. */
const MARGIN_MS = 5 * 60_000
/** The metadata service is on the same machine: elsewhere nothing answers. */
const METADATA_TIMEOUT_MS = 1000
const METADATA = 'http://169.254.169.254'

let current: Promise<Credentials> | undefined

/**
 * The credentials of this process; undefined for anonymous requests, which `AWS_NO_SIGN_REQUEST=YES` asks for.
 * @param name of the file that they are needed for
 * @throws FILE_UNREADABLE if there are none
 */
export async function credentialsFor(name: string): Promise<Credentials | undefined> {
  if (/^(yes|true|1)$/i.test(process.env.AWS_NO_SIGN_REQUEST ?? '')) return undefined
  if (current !== undefined && (await isExpiring(current))) current = undefined
  current ??= findCredentials(name)
  const found = current
  found.catch(() => {
    if (current === found) current = undefined
  })
  return found
}

const isExpiring = (found: Promise<Credentials>): Promise<boolean> =>
  found.then(
    ({ expiresAt }) => expiresAt !== undefined && expiresAt < Date.now() + MARGIN_MS,
    () => true,
  )

/** To be called when a store says that the credentials have expired. */
export function forgetCredentials(): void {
  current = undefined
}

async function findCredentials(name: string): Promise<Credentials> {
  const found =
    fromEnvironment() ??
    fromProfile(name) ??
    (await fromWebIdentity(name)) ??
    (await fromContainer(name)) ??
    (await fromInstance(name))
  if (found !== undefined) return found
  const message =
    'no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or AWS_NO_SIGN_REQUEST=YES for a public bucket'
  throw new PenstockError('FILE_UNREADABLE', message, { file: name })
}

function fromEnvironment(): Credentials | undefined {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env
  if (!AWS_ACCESS_KEY_ID || !AWS_SECRET_ACCESS_KEY) return undefined
  return {
    accessKeyId: AWS_ACCESS_KEY_ID,
    secretAccessKey: AWS_SECRET_ACCESS_KEY,
    sessionToken: AWS_SESSION_TOKEN || undefined,
  }
}

function fromProfile(name: string): Credentials | undefined {
  const profile = selectedProfile()
  const { aws_access_key_id: accessKeyId, aws_secret_access_key: secretAccessKey } = profile
  if (accessKeyId && secretAccessKey) {
    return { accessKeyId, secretAccessKey, sessionToken: profile.aws_session_token || undefined }
  }
  if (!process.env.AWS_PROFILE || profile.web_identity_token_file !== undefined) return undefined
  const message = `the profile ${profileName()} has no access key; for SSO and assumed roles run: eval "$(aws configure export-credentials --profile ${profileName()} --format env)"`
  throw new PenstockError('FILE_UNREADABLE', message, { file: name })
}

async function fromWebIdentity(name: string): Promise<Credentials | undefined> {
  const profile = selectedProfile()
  const tokenFile = process.env.AWS_WEB_IDENTITY_TOKEN_FILE || profile.web_identity_token_file
  const role = process.env.AWS_ROLE_ARN || profile.role_arn
  if (!tokenFile || !role) return undefined
  const token = await readFile(tokenFile, 'utf8').catch(error => {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: tokenFile })
  })
  const region = process.env.AWS_REGION || process.env.AWS_DEFAULT_REGION || profile.region
  const service = region === undefined ? 'https://sts.amazonaws.com' : `https://sts.${region}.amazonaws.com`
  const parameters = new URLSearchParams({
    Action: 'AssumeRoleWithWebIdentity',
    Version: '2011-06-15',
    RoleArn: role,
    RoleSessionName: process.env.AWS_ROLE_SESSION_NAME || 'penstock',
    WebIdentityToken: token.trim(),
  })
  const url = process.env.AWS_ENDPOINT_URL_STS || service
  const headers = { 'content-type': 'application/x-www-form-urlencoded' }
  const text = await answerOf(name, 'the web identity', { url, method: 'POST', headers, body: `${parameters}` })
  const read = (element: string): string => new RegExp(`<${element}>([^<]*)</${element}>`).exec(text)?.[1] ?? ''
  return checked(name, 'the web identity', {
    AccessKeyId: read('AccessKeyId'),
    SecretAccessKey: read('SecretAccessKey'),
    Token: read('SessionToken'),
    Expiration: read('Expiration'),
  })
}

async function fromContainer(name: string): Promise<Credentials | undefined> {
  const { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: relative, AWS_CONTAINER_CREDENTIALS_FULL_URI: full } = process.env
  const url = relative ? `http://169.254.170.2${relative}` : full
  if (!url) return undefined
  const file = process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
  const token = file
    ? await readFile(file, 'utf8').catch(error => {
        throw toPenstockError(error, 'FILE_UNREADABLE', { file })
      })
    : process.env.AWS_CONTAINER_AUTHORIZATION_TOKEN
  const headers = token ? { authorization: token.trim() } : {}
  return checked(
    name,
    "the container's endpoint",
    jsonOf(await answerOf(name, "the container's endpoint", { url, headers })),
  )
}

/** Version 2 of the protocol: a session token first, which a forwarded request cannot get. */
async function fromInstance(name: string): Promise<Credentials | undefined> {
  if (/^true$/i.test(process.env.AWS_EC2_METADATA_DISABLED ?? '')) return undefined
  const base = `${process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT || METADATA}/latest`
  const request = {
    url: `${base}/api/token`,
    method: 'PUT',
    headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '300' },
  }
  const response = await sendRequest(request, AbortSignal.timeout(METADATA_TIMEOUT_MS)).catch(() => undefined)
  if (response === undefined) return undefined
  const token = await textOf(response)
  if (response.status !== 200) return undefined
  const headers = { 'x-aws-ec2-metadata-token': token }
  const roles = `${base}/meta-data/iam/security-credentials/`
  const role = (await answerOf(name, 'the instance metadata', { url: roles, headers })).split('\n')[0]!.trim()
  const text = await answerOf(name, 'the instance metadata', { url: `${roles}${role}`, headers })
  return checked(name, 'the instance metadata', jsonOf(text))
}

async function answerOf(name: string, source: string, request: HttpRequest): Promise<string> {
  const { response } = await withRetries(name, async () => ({ response: await sendRequest(request) }))
  const text = await textOf(response)
  if (response.status === 200) return text
  const message = `${source} gave no credentials (HTTP status ${response.status})`
  throw new PenstockError('FILE_UNREADABLE', message, { file: name })
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const answerSchema = z.object({
  AccessKeyId: z.string().min(1),
  SecretAccessKey: z.string().min(1),
  Token: z.string().optional(),
  Expiration: z.string().optional(),
})

/** Leaves out the parser's error as a cause, because it would quote the answer. */
function checked(name: string, source: string, answer: unknown): Credentials {
  const { data } = answerSchema.safeParse(answer)
  if (data === undefined) {
    throw new PenstockError('FILE_UNREADABLE', `${source} gave an answer without credentials`, { file: name })
  }
  const expiresAt = Date.parse(data.Expiration ?? '')
  return {
    accessKeyId: data.AccessKeyId,
    secretAccessKey: data.SecretAccessKey,
    sessionToken: data.Token,
    expiresAt: Number.isNaN(expiresAt) ? undefined : expiresAt,
  }
}
