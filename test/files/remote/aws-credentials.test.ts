/** Credentials come from where the AWS tools find them, in their order, and are renewed before they expire. */
import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { credentialsFor, forgetCredentials } from '#src/files/remote/aws-credentials'
import { selectedProfile } from '#src/files/remote/aws-profiles'
import { temporaryFolder } from '../../stages/support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const inAnHour = (): string => new Date(Date.now() + 3_600_000).toISOString()
const answer = (key: string, expiration: string) =>
  JSON.stringify({ AccessKeyId: key, SecretAccessKey: 'secret', Token: 'token', Expiration: expiration })

let server: Server
let address: string
let asked: string[] = []
let expiration = ''

function reply(url: string, method: string, headers: NodeJS.Dict<string | string[]>, body: string): string | undefined {
  if (url === '/latest/api/token') return method === 'PUT' ? 'session' : undefined
  if (url.startsWith('/latest/meta-data/iam')) {
    if (headers['x-aws-ec2-metadata-token'] !== 'session') return undefined
    return url.endsWith('/my-role') ? answer('from-instance', expiration) : 'my-role\n'
  }
  if (url === '/container')
    return headers.authorization === 'container-token' ? answer('from-container', expiration) : undefined
  const sts = new URLSearchParams(body)
  if (sts.get('WebIdentityToken') !== 'identity' || sts.get('RoleArn') !== 'arn:role') return undefined
  return `<Credentials><AccessKeyId>from-identity</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken><Expiration>${expiration}</Expiration></Credentials>`
}

beforeAll(async () => {
  server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    asked.push(request.url!)
    const text = reply(request.url!, request.method!, request.headers, body)
    response.writeHead(text === undefined ? 401 : 200).end(text ?? 'refused')
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  writeFileSync(at('identity'), 'identity\n')
  writeFileSync(
    at('credentials'),
    '# comment\n[default]\naws_access_key_id = from-default\naws_secret_access_key = secret\n\n[work]\naws_access_key_id=from-work\naws_secret_access_key=with=sign\naws_session_token=token\n',
  )
  writeFileSync(
    at('config'),
    '[profile work]\nregion = eu-west-1\nendpoint_url = http://store\ns3 =\n  region = nested\n[profile sso]\nsso_session = x\n',
  )
})
afterAll(() => server.close())

const VARIABLES = /^AWS_/
beforeEach(() => {
  for (const name of Object.keys(process.env)) if (VARIABLES.test(name)) delete process.env[name]
  process.env.AWS_SHARED_CREDENTIALS_FILE = at('none')
  process.env.AWS_CONFIG_FILE = at('none')
  process.env.AWS_EC2_METADATA_DISABLED = 'true'
  forgetCredentials()
  asked = []
  expiration = inAnHour()
})

const find = (env: Record<string, string>) => {
  Object.assign(process.env, env)
  return credentialsFor('s3://bucket/key')
}
const files = () => ({ AWS_SHARED_CREDENTIALS_FILE: at('credentials'), AWS_CONFIG_FILE: at('config') })

describe('credentials', () => {
  it('come from the environment before anything else', async () => {
    const env = { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret', AWS_SESSION_TOKEN: 'token' }
    const found = { accessKeyId: 'key', secretAccessKey: 'secret', sessionToken: 'token' }
    expect(await find({ ...files(), ...env })).toEqual(found)
  })

  it('come from a profile, with its region and endpoint', async () => {
    expect(await find(files())).toMatchObject({ accessKeyId: 'from-default', sessionToken: undefined })
    forgetCredentials()
    const found = { accessKeyId: 'from-work', secretAccessKey: 'with=sign', sessionToken: 'token' }
    expect(await find({ AWS_PROFILE: 'work' })).toEqual(found)
    expect(selectedProfile()).toMatchObject({ region: 'eu-west-1', endpoint_url: 'http://store' })
  })

  it('of a profile without keys are an error with the remedy', async () => {
    await expect(find({ ...files(), AWS_PROFILE: 'sso' })).rejects.toThrow(
      'aws configure export-credentials --profile sso',
    )
  })

  it('come from a web identity', async () => {
    const env = { AWS_WEB_IDENTITY_TOKEN_FILE: at('identity'), AWS_ROLE_ARN: 'arn:role', AWS_ENDPOINT_URL_STS: address }
    expect(await find(env)).toMatchObject({ accessKeyId: 'from-identity', expiresAt: Date.parse(expiration) })
    forgetCredentials()
    await expect(find({ AWS_ROLE_ARN: 'arn:other' })).rejects.toThrow(
      'the web identity gave no credentials (HTTP status 401)',
    )
  })

  it('come from the endpoint of a container', async () => {
    const env = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${address}/container`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: 'container-token',
    }
    expect(await find(env)).toMatchObject({ accessKeyId: 'from-container', sessionToken: 'token' })
  })

  it('come from the metadata of an instance, once until shortly before they expire', async () => {
    const env = { AWS_EC2_METADATA_DISABLED: '', AWS_EC2_METADATA_SERVICE_ENDPOINT: address }
    expect(await find(env)).toMatchObject({ accessKeyId: 'from-instance' })
    const { length } = asked
    await credentialsFor('s3://bucket/key')
    expect(asked).toHaveLength(length)
    forgetCredentials()
    expiration = new Date(Date.now() + 60_000).toISOString()
    await credentialsFor('s3://bucket/key')
    await credentialsFor('s3://bucket/key')
    expect(asked).toHaveLength(3 * length)
  })

  it('are not needed for public buckets, and are an error elsewhere', async () => {
    expect(await find({ AWS_NO_SIGN_REQUEST: 'YES' })).toBeUndefined()
    await expect(find({ AWS_NO_SIGN_REQUEST: '' })).rejects.toMatchObject({
      code: 'FILE_UNREADABLE',
      message: expect.stringContaining('no credentials: set AWS_ACCESS_KEY_ID'),
    })
  })
})
