/** Files on web servers that answer range requests. */
import { PenstockError } from '../../errors.js'
import type { RemoteStore } from './remote-store.js'
import { checkRange, rangeHeader, sendToWeb, sizeIn, WITHOUT_RANGES } from './web-request.js'

export const httpsStore: RemoteStore = {
  async list({ name }) {
    const { response } = await sendToWeb({ name, url: name, headers: rangeHeader(0, 1) })
    response.body.destroy()
    const { status } = response
    const where = { file: name }
    if (status === 404 || status === 410) return []
    if (status === 200) throw new PenstockError('UNSUPPORTED', WITHOUT_RANGES, where)
    const size = sizeIn(response)
    if ((status !== 206 && status !== 416) || size === undefined) {
      throw new PenstockError('FILE_UNREADABLE', `the server refused the request (HTTP status ${status})`, where)
    }
    return [{ name, size, version: response.header('etag') ?? response.header('last-modified') ?? '' }]
  },

  async request(entry, from, to, signal) {
    const { name, version } = entry
    const { response } = await sendToWeb({ name, url: name, headers: rangeHeader(from, to) }, signal)
    checkRange(entry, response)
    const found = response.header('etag') ?? response.header('last-modified') ?? ''
    if (found === version) return response
    response.body.destroy()
    throw new PenstockError('FILE_CHANGED', 'the file was replaced while it was read', { file: name })
  },
}
