/**
 * Pushes events to open pages as server-sent events. The buffer of a slow page is bounded: beyond the bound it misses
 * events, and receives `resync`, which makes it reload all data, once its buffer has drained.
 */
import type { ServerResponse } from 'node:http'

const MAX_BUFFERED_BYTES = 256 << 10
const MAX_PAGES = 64
const KEEP_ALIVE_MS = 15_000

export class LiveFeed {
  private readonly pages = new Map<ServerResponse, { lagging: boolean }>()
  private readonly keepAlive = setInterval(() => this.write(':\n\n'), KEEP_ALIVE_MS).unref()

  /** Adds a page and keeps its response open; false if too many are open. */
  join(response: ServerResponse): boolean {
    if (this.pages.size >= MAX_PAGES) return false
    const page = { lagging: false }
    response.write('retry: 2000\n\n')
    response.on('drain', () => {
      if (!page.lagging) return
      page.lagging = false
      response.write(eventText('resync', {}))
    })
    response.on('close', () => this.pages.delete(response))
    this.pages.set(response, page)
    return true
  }

  get hasPages(): boolean {
    return this.pages.size > 0
  }

  send(name: string, data: unknown): void {
    if (this.hasPages) this.write(eventText(name, data))
  }

  close(): void {
    clearInterval(this.keepAlive)
    for (const response of this.pages.keys()) response.end()
  }

  private write(text: string): void {
    for (const [response, page] of this.pages) {
      if (response.writableLength > MAX_BUFFERED_BYTES) page.lagging = true
      if (!page.lagging) response.write(text)
    }
  }
}

const eventText = (name: string, data: unknown): string => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
