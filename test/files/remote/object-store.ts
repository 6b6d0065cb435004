/**
 * An S3-compatible object store for tests: SeaweedFS, from the Python environment `s3`, on free ports of the loopback
 * interface; and a proxy in front of it that behaves like a bad network.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sendRequest, textOf } from '#src/files/remote/http-request'
import { sendToS3 } from '#src/files/remote/s3-request'
import { findEnvironment } from '#src/training/torch/python-environment'

const requirements = fileURLToPath(new URL('../../../scripts/requirements/s3.txt', import.meta.url))
export const s3Python = findEnvironment({ kind: 's3', requirements })
if (s3Python === undefined)
  console.warn('skipped: tests with an object store, which need: node scripts/setup-python.mjs s3')

export const KEY = 'test-key'
export const SECRET = 'correct-horse-battery-staple'

export interface ObjectStore {
  readonly endpoint: string
  /** Environment variables of a client. */
  readonly env: Readonly<Record<string, string>>
  put(bucket: string, key: string, body: Uint8Array | string): Promise<void>
  /** Undefined for a missing object. */
  get(bucket: string, key: string): Promise<Buffer | undefined>
  stop(): Promise<void>
}

/** @param folder for its data, configuration and log */
export async function startObjectStore(folder: string): Promise<ObjectStore> {
  const [master, volume, filer, s3] = await freePorts(4)
  const at = (name: string): string => join(folder, name)
  mkdirSync(at('data'), { recursive: true })
  const credentials = [{ accessKey: KEY, secretKey: SECRET }]
  const actions = ['Admin', 'Read', 'Write', 'List', 'Tagging']
  writeFileSync(at('s3.json'), JSON.stringify({ identities: [{ name: 'test', credentials, actions }] }))
  const log = openSync(at('weed.log'), 'w')
  const options = {
    ...{ ip: '127.0.0.1', 'ip.bind': '127.0.0.1', dir: at('data'), 's3.config': at('s3.json') },
    ...{ 'master.port': master, 'volume.port': volume, 'filer.port': filer, 's3.port': s3 },
    ...{ 'volume.max': 50, 'master.volumeSizeLimitMB': 64, 'master.telemetry': false },
    ...{ 's3.port.iceberg': 0, 's3.port.lance': 0 },
  }
  const args = ['server', '-s3', ...Object.entries(options).map(([name, value]) => `-${name}=${value}`)]
  const server = spawn(join(dirname(s3Python!), 'weed'), args, { stdio: ['ignore', log, log] })
  const endpoint = `http://127.0.0.1:${s3}`
  const env = {
    AWS_ENDPOINT_URL: endpoint,
    AWS_ACCESS_KEY_ID: KEY,
    AWS_SECRET_ACCESS_KEY: SECRET,
    AWS_REGION: 'us-east-1',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: at('no-config'),
    AWS_SHARED_CREDENTIALS_FILE: at('no-credentials'),
  }
  Object.assign(process.env, env)
  await isReady(server, endpoint, at('weed.log'))
  const buckets = new Set<string>()
  return {
    endpoint,
    env,
    async put(bucket, key, body) {
      const name = `s3://${bucket}/${key}`
      if (!buckets.has(bucket)) await textOf(await sendToS3({ name, bucket, method: 'PUT' }, [409]))
      buckets.add(bucket)
      await textOf(await sendToS3({ name, bucket, key, method: 'PUT', body }))
    },
    async get(bucket, key) {
      const response = await sendToS3({ name: `s3://${bucket}/${key}`, bucket, key }, [404])
      const chunks: Buffer[] = []
      for await (const chunk of response.body as AsyncIterable<Buffer>) chunks.push(chunk)
      return response.status === 404 ? undefined : Buffer.concat(chunks)
    },
    stop: () => ended(server),
  }
}

/** The store answers once it can also write, which takes a few seconds. */
async function isReady(server: ChildProcess, endpoint: string, log: string): Promise<void> {
  for (;;) {
    if (server.exitCode !== null) throw new Error(`the object store ended:\n${readFileSync(log, 'utf8').slice(-2000)}`)
    const response = await sendRequest({ url: endpoint }).catch(() => undefined)
    if (response !== undefined) {
      await textOf(response)
      const name = 's3://ready/check'
      const created = await sendToS3({ name, bucket: 'ready', method: 'PUT' }, [409])
      await textOf(created)
      const written = await sendToS3({ name, bucket: 'ready', key: 'check', method: 'PUT', body: 'x' }, [500, 503])
      await textOf(written)
      if (written.status === 200) return
    }
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}

function ended(server: ChildProcess): Promise<void> {
  return new Promise(resolve => {
    if (server.exitCode !== null) return resolve()
    server.once('exit', () => resolve())
    server.kill('SIGKILL')
  })
}

/** Ports that are free together with those 10,000 above them, where SeaweedFS listens too. */
async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = 20_000 + Math.floor(Math.random() * 10_000)
    if (!ports.includes(port) && (await isFree(port)) && (await isFree(port + 10_000))) ports.push(port)
  }
  return ports
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createTcpServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

export interface BadNetwork {
  readonly endpoint: string
  /** What it did so far. */
  readonly counts: { requests: number; refused: number; dropped: number }
  stop(): Promise<void>
}

/** A proxy that refuses one request in ten with 503 and drops every connection after so many bytes of a response. */
export async function startBadNetwork(target: string, dropAfterBytes: number): Promise<BadNetwork> {
  const counts = { requests: 0, refused: 0, dropped: 0 }
  const { port } = new URL(target)
  const proxy = createServer((incoming, outgoing) => {
    if (++counts.requests % 10 === 0) {
      counts.refused++
      incoming.resume()
      outgoing.writeHead(503, { 'retry-after': '0' }).end('<Error><Code>SlowDown</Code></Error>')
      return
    }
    const { method, url, headers } = incoming
    const forwarded = request({ host: '127.0.0.1', port, method, path: url, headers }, answer => {
      outgoing.writeHead(answer.statusCode!, answer.headers)
      let bytes = 0
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes <= dropAfterBytes) return void outgoing.write(chunk)
        counts.dropped++
        answer.destroy()
        outgoing.destroy()
      })
      answer.on('end', () => outgoing.end())
      answer.on('error', () => outgoing.destroy())
    })
    forwarded.on('error', () => outgoing.destroy())
    incoming.pipe(forwarded)
  })
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
  return {
    endpoint: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    counts,
    stop: () =>
      new Promise(resolve => {
        proxy.close(() => resolve())
        proxy.closeAllConnections()
      }),
  }
}
