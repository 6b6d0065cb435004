/** Interface of the places that files can be read from: object stores, the Hugging Face Hub, and web servers. */
import type { HttpResponse } from './http-request.js'
import type { RemoteName } from './remote-name.js'

/** A remote file as it was found; JSON values only, so that a message to a worker can name the version to read. */
export interface RemoteEntry {
  readonly name: string
  readonly size: number
  /** ETag, or commit and object id: another version of the file has another one. Empty if the server has none. */
  readonly version: string
}

export interface RemoteStore {
  /**
   * The files that a name refers to: a file itself, all files of a known format below a folder, or those that match a
   * pattern; sorted by no particular order.
   * @throws FILE_MISSING, FILE_UNREADABLE
   */
  list(name: RemoteName): Promise<readonly RemoteEntry[]>
  /**
   * Requests the bytes [from, to) of a file; the body may break off at any time.
   * @throws FILE_CHANGED if the file has another version now; FILE_MISSING, FILE_UNREADABLE
   */
  request(entry: RemoteEntry, from: number, to: number, signal: AbortSignal | undefined): Promise<HttpResponse>
}
