/**
 * Pushes events to open pages as server-sent events. The buffer of a slow page is bounded: beyond the bound it misses
 * events, and receives `resync`, which makes it reload all data, once its buffer has drained. The number of pages is
 * bounded too: beyond it the oldest receives `evicted` and is closed.
 */
import type { ServerResponse } from 'node:http'

const MAX_BUFFERED_BYTES = 256 << 10
const MAX_PAGES = 64
const KEEP_ALIVE_MS = 15_000
/** Time for an evicted page to receive the event. */
const EVICTION_MS = 500

export class LiveFeed {
  /** Open pages, the oldest first. */
  private readonly pages = new Map<ServerResponse, { lagging: boolean }>()
  private readonly keepAlive = setInterval(() => this.write(':\n\n'), KEEP_ALIVE_MS).unref()

  /**
   * Adds a page and keeps its response open. If too many are open, the oldest is closed, since the user is more likely to
   * look at the newest, and its connection must be free for other requests.
   */
  join(response: ServerResponse): void {
    const [oldest] = this.pages.keys()
    if (this.pages.size >= MAX_PAGES) this.evict(oldest!)
    const page = { lagging: false }
    response.setHeader('Connection', 'close')
    response.write('retry: 2000\n\n')
    response.on('drain', () => {
      if (!page.lagging) return
      page.lagging = false
      response.write(eventText('resync', {}))
    })
    response.on('close', () => this.pages.delete(response))
    this.pages.set(response, page)
  }

  private evict(response: ServerResponse): void {
    this.pages.delete(response)
    response.end(eventText('evicted', {}))
    // A client that does not read would keep its connection.
    setTimeout(() => response.destroy(), EVICTION_MS).unref()
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
