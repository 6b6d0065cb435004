/**
 * Downloads a wheel from the user's package index: with pip and its configuration, or without pip through the index's API
 * (PEP 503 and 691) at PIP_INDEX_URL. The hash is verified either way.
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
 * Downloads a wheel, resuming a partial download; an existing file is only verified.
 * @throws PEER_MISSING without pip and index, FILE_UNREADABLE for a wrong hash, WORKER_FAILED when the download fails
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
    const message = `${wheel.file} has the hash ${found}, expected ${wheel.sha256}: the file was removed; run the command again`
    throw new PenstockError('FILE_UNREADABLE', message, { file: path })
  }
  return path
}

/** Downloads the wheels of requirements with pip, which chooses versions and verifies the hashes of the index. */
export async function downloadRequirements(requirements: readonly string[], folder: string): Promise<string[]> {
  if (!hasPip()) {
    throw new PenstockError(
      'PEER_MISSING',
      `${python} has no pip, which is needed to download NVIDIA's libraries: install pip`,
    )
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
    remedy: 'see the output of pip above; check that the package index is reachable, or set PIP_INDEX_URL',
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
    const message = `${python} has no pip: install it, or set PIP_INDEX_URL to a package index`
    throw new PenstockError('PEER_MISSING', message)
  }
  try {
    await continueDownload(await findInIndex(index, wheel), `${path}.part`)
  } catch (error) {
    if (error instanceof PenstockError) {
      throw error
    }
    const reason = error instanceof Error ? `${error.message} ${error.cause ?? ''}`.trim() : String(error)
    const message = `the download of ${wheel.file} failed (${reason}): check that the package index is reachable; run again to continue`
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

/** HTTP status when the file is already complete. */
const rangeBeyondEnd = 416

/** Resumes a partial download if the server supports ranges. */
async function continueDownload(url: URL, part: string): Promise<void> {
  const size = existsSync(part) ? statSync(part).size : 0
  const answer = await get(url, size === 0 ? {} : { range: `bytes=${size}-` })
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
