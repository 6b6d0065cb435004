/**
 * Brings a wheel from the user's package index into a folder: through pip, with all of its configuration, or without pip
 * through the index's own interface (PEP 503 and 691) as PIP_INDEX_URL names it. Either way its hash is checked.
 */
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream, existsSync, statSync } from 'node:fs'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import { PenstockError } from '../../../errors.js'
import { python, runProgram, runs } from './programs.js'
import type { Wheel } from './recipe.js'

/**
 * A wheel that is there already is only checked; one that came in part is continued.
 * @throws PEER_MISSING without pip and index, FILE_UNREADABLE for a wrong hash, WORKER_FAILED when it cannot be fetched
 */
export async function downloadWheel(wheel: Wheel, folder: string): Promise<string> {
  const path = join(folder, wheel.file)
  if (!existsSync(path)) {
    if (hasPip()) {
      pipDownload(wheel.requirement, folder)
    } else {
      await downloadFromIndex(wheel, path)
    }
  }
  const found = await sha256Of(path)
  if (found !== wheel.sha256) {
    await rm(path)
    const message = `${wheel.file} has the hash ${found}, expected ${wheel.sha256}: it was removed; try again`
    throw new PenstockError('FILE_UNREADABLE', message, { file: path })
  }
  return path
}

/** Wheels by requirement, whichever versions pip finds; it checks the hashes that the index gives. */
export async function downloadRequirements(requirements: readonly string[], folder: string): Promise<string[]> {
  if (!hasPip()) {
    throw new PenstockError('PEER_MISSING', `${python} has no pip, which chooses NVIDIA's libraries: install it`)
  }
  await mkdir(folder, { recursive: true })
  for (const requirement of requirements) {
    pipDownload(requirement, folder)
  }
  return (await readdir(folder)).filter(name => name.endsWith('.whl')).map(name => join(folder, name))
}

function hasPip(): boolean {
  return runs(python, ['-m', 'pip', '--version'])
}

function pipDownload(requirement: string, folder: string): void {
  const target = ['--python-version', '3.10', '--implementation', 'cp', '--platform', 'manylinux2014_x86_64']
  const args = ['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', ...target, '-d', folder, requirement]
  runProgram(python, args, {
    remedy: 'is the package index reached? pip says above what went wrong; PIP_INDEX_URL names another index',
  })
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex')
}

async function downloadFromIndex(wheel: Wheel, path: string): Promise<void> {
  const index = process.env.PIP_INDEX_URL
  if (!index) {
    const message = `${python} has no pip: install it, or name a package index by PIP_INDEX_URL`
    throw new PenstockError('PEER_MISSING', message)
  }
  try {
    await continueDownload(await findInIndex(index, wheel), `${path}.part`)
  } catch (error) {
    if (error instanceof PenstockError) {
      throw error
    }
    const reason = error instanceof Error ? `${error.message} ${error.cause ?? ''}`.trim() : String(error)
    const message = `${wheel.file} cannot be fetched (${reason}): is the package index reached? A next call goes on`
    throw new PenstockError('WORKER_FAILED', message, {}, error)
  }
  await rename(`${path}.part`, path)
}

async function findInIndex(index: string, wheel: Wheel): Promise<URL> {
  const project = wheel.requirement.split('==')[0]!
  const page = new URL(`${index.replace(/\/$/, '')}/${project}/`)
  const answer = await get(page, { accept: 'application/vnd.pypi.simple.v1+json, text/html;q=0.5' })
  const text = await answer.text()
  const links = answer.headers.get('content-type')?.includes('json')
    ? (JSON.parse(text) as { files: { url: string }[] }).files.map(file => file.url)
    : [...text.matchAll(/href="([^"]+)"/g)].map(match => match[1]!.replaceAll('&amp;', '&'))
  const found = links.map(link => new URL(link, page)).find(url => basename(url.pathname) === wheel.file)
  if (found === undefined) {
    throw new PenstockError('FILE_MISSING', `the package index has no ${wheel.file}`)
  }
  return found
}

/** The answer when all of it is there already. */
const rangeBeyondEnd = 416

/** Goes on where an earlier download ended, when the server knows how. */
async function continueDownload(url: URL, part: string): Promise<void> {
  const have = existsSync(part) ? statSync(part).size : 0
  const answer = await get(url, have === 0 ? {} : { range: `bytes=${have}-` })
  if (answer.status === rangeBeyondEnd) {
    return
  }
  const flags = answer.status === 206 ? 'a' : 'w'
  await pipeline(Readable.fromWeb(answer.body as ReadableStream), createWriteStream(part, { flags }))
}

async function get(url: URL, headers: Record<string, string>): Promise<Response> {
  const plain = new URL(url)
  plain.username = ''
  plain.password = ''
  const secret = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  const login = url.username === '' ? {} : { authorization: `Basic ${Buffer.from(secret).toString('base64')}` }
  const answer = await fetch(plain, { headers: { ...headers, ...login } })
  if (!answer.ok && answer.status !== rangeBeyondEnd) {
    throw new Error(`${answer.status} ${answer.statusText}`)
  }
  return answer
}
