/**
 * Connections to the ranks of this machine: each rank connects once to a Unix socket, receives every command, and answers
 * in order. When a rank disconnects, all pending commands fail, because the other ranks would wait for it indefinitely.
 */
import { mkdir, rmdir } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { PenstockError } from '../../errors.js'
import { encodeFrame, type Frame, FrameDecoder } from './frames.js'

export interface RankFacts {
  readonly rank: number
  readonly worldSize: number
  readonly localWorldSize: number
  readonly device: string
  /** Name of its GPU, as the driver reports it; empty on a CPU. */
  readonly deviceName: string
}

export interface Command {
  readonly header: Readonly<Record<string, unknown>>
  readonly payload?: Uint8Array
}

interface Waiting {
  resolve(frame: Frame): void
  reject(error: PenstockError): void
}

interface Connection {
  readonly facts: RankFacts
  readonly socket: Socket
  readonly waiting: Waiting[]
  /** Waits for the checkpoint that the rank writes besides its commands. */
  writing: Waiting | undefined
  /** Whether it has answered the last request for a report. */
  responds: boolean
}

/** End of the message for a rank that disconnected without giving a reason. */
export const endedUnexpectedly = 'ended unexpectedly'

/** Time for the report of a rank, which a thread of its own writes. */
const REPORT_MS = 3000

const noPayload = new Uint8Array(0)

export class Ranks {
  readonly #server: Server
  readonly #connections: Connection[] = []
  readonly #sockets = new Set<Socket>()
  readonly #complete: Promise<void>
  #settleComplete: (error?: PenstockError) => void = () => {}
  readonly #reportFolder: string
  /** Names of the files that the ranks have written there. */
  readonly #reports: string[] = []
  #failure: PenstockError | undefined
  #lostRank = false
  #closing = false

  private constructor(server: Server, reportFolder: string) {
    this.#server = server
    this.#reportFolder = reportFolder
    this.#complete = new Promise((resolve, reject) => {
      this.#settleComplete = error => (error === undefined ? resolve() : reject(error))
    })
    this.#complete.catch(() => {})
    server.on('connection', socket => this.#onConnection(socket))
  }

  /**
   * Listens on a path in a folder that only this user can enter.
   * @param reportFolder created after a timeout, for the reports of the ranks
   * @throws ENGINE_FAILED
   */
  static async listen(path: string, reportFolder: string): Promise<Ranks> {
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', error => {
        reject(new PenstockError('ENGINE_FAILED', `the ranks' socket cannot be opened: ${error.message}`, {}, error))
      })
      server.listen(path, resolve)
    })
    return new Ranks(server, reportFolder)
  }

  /** Sorted by rank. */
  get facts(): readonly RankFacts[] {
    return this.#connections.map(connection => connection.facts)
  }

  /** Whether a rank reported a failure or disconnected. */
  get lostRank(): boolean {
    return this.#lostRank
  }

  /** Resolves when all ranks of this machine are connected. */
  complete(): Promise<void> {
    return this.#complete
  }

  /** Fails all pending and all later commands; only the first error is kept. */
  fail(error: PenstockError): void {
    if (this.#failure !== undefined || this.#closing) {
      return
    }
    this.#failure = error
    this.#settleComplete(error)
    for (const { waiting, writing } of this.#connections) {
      for (const { reject } of waiting.splice(0)) {
        reject(error)
      }
      writing?.reject(error)
    }
  }

  /**
   * Waits until all ranks have written a checkpoint; to be called before the command that starts it.
   * @returns the report of the first rank of this machine
   * @throws as `ask`
   */
  written(): Promise<Frame> {
    const reports = this.#connections.map(
      connection =>
        new Promise<Frame>((resolve, reject) => {
          connection.writing = { resolve, reject }
        }),
    )
    const first = Promise.all(reports).then(frames => frames[0]!)
    // Awaited after the command: avoids an unhandled rejection until then.
    first.catch(() => {})
    return first
  }

  /**
   * Sends each rank its command.
   * @param timeoutMs fails all commands if not every rank has answered by then
   * @returns the answers, sorted by rank
   * @throws ENGINE_FAILED, or the error that a rank reports
   */
  async ask(commandOf: (facts: RankFacts) => Command, timeoutMs?: number): Promise<readonly Frame[]> {
    if (this.#failure !== undefined) {
      throw this.#failure
    }
    const late = `no answer within ${(timeoutMs ?? 0) / 1000} s (torch.step_timeout_s)`
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => void this.failLate(late), timeoutMs)
    try {
      return await Promise.all(this.#connections.map(connection => this.#send(connection, commandOf(connection.facts))))
    } finally {
      clearTimeout(timer)
    }
  }

  /**
   * Fails all commands after a timeout. Names the ranks that write no report (torch/penstock_torch/hang_report.py), because
   * the others may only wait for them.
   */
  async failLate(what: string): Promise<void> {
    await mkdir(this.#reportFolder, { recursive: true }).catch(() => {})
    for (const connection of this.#connections) connection.responds = false
    for (const socket of this.#sockets) write(socket, { header: { kind: 'report', folder: this.#reportFolder } })
    await new Promise(resolve => setTimeout(resolve, REPORT_MS))
    const silent = this.#connections.filter(({ responds }) => !responds).map(({ facts }) => facts.rank)
    const who =
      silent.length === 0
        ? 'the connected ranks of this machine respond, but are still busy'
        : `rank ${silent.join(', ')} does not respond: it was stopped, or hangs`
    const names = this.#reports.toSorted().join(', ')
    if (names === '') await rmdir(this.#reportFolder).catch(() => {})
    const where = names === '' ? '' : `; stacks and collectives of the others are in ${this.#reportFolder}: ${names}`
    this.fail(new PenstockError('ENGINE_FAILED', `${what}: ${who}${where}`))
  }

  /** Asks the ranks to end. Disconnects them after a failure, or after `timeoutMs`. */
  async close(timeoutMs: number | undefined): Promise<void> {
    this.#closing = true
    if (this.#failure === undefined) {
      const timer = timeoutMs === undefined ? undefined : setTimeout(() => this.disconnect(), timeoutMs)
      await Promise.all(this.#connections.map(({ socket }) => closeGracefully(socket)))
      clearTimeout(timer)
    }
    this.disconnect()
    const error = new PenstockError('STOPPED', 'the engine was closed before the checkpoint was complete')
    for (const { writing } of this.#connections) writing?.reject(error)
  }

  /** Closes all sockets: a rank exits immediately when its socket closes. */
  disconnect(): void {
    this.#closing = true
    this.#server.close()
    for (const socket of this.#sockets) {
      socket.destroy()
    }
  }

  #send(connection: Connection, command: Command): Promise<Frame> {
    return new Promise((resolve, reject) => {
      connection.waiting.push({ resolve, reject })
      write(connection.socket, command)
    })
  }

  #onConnection(socket: Socket): void {
    this.#sockets.add(socket)
    const decoder = new FrameDecoder()
    let connection: Connection | undefined
    const nameOf = () => (connection === undefined ? 'a rank' : `rank ${connection.facts.rank}`)
    socket.on('data', chunk => {
      for (const frame of decoder.push(chunk)) {
        if (frame.header.kind === 'failed') {
          this.#lostRank = true
          this.fail(reportedError(nameOf(), frame))
        } else if (frame.header.kind === 'report') {
          if (connection !== undefined) connection.responds = true
          this.#reports.push(...(frame.header.files as string[]))
        } else if (frame.header.kind === 'written') {
          connection?.writing?.resolve(frame)
        } else if (connection === undefined) {
          connection = this.#register(socket, frame)
        } else {
          connection.waiting.shift()?.resolve(frame)
        }
      }
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#sockets.delete(socket)
      this.#lostRank ||= !this.#closing
      this.fail(new PenstockError('ENGINE_FAILED', `${nameOf()} of the torch engine ${endedUnexpectedly}`))
    })
  }

  #register(socket: Socket, { header }: Frame): Connection {
    const facts = header as unknown as RankFacts
    const connection: Connection = { facts, socket, waiting: [], writing: undefined, responds: true }
    this.#connections.push(connection)
    this.#connections.sort((a, b) => a.facts.rank - b.facts.rank)
    if (this.#connections.length === facts.localWorldSize) {
      this.#settleComplete()
    }
    return connection
  }
}

function closeGracefully(socket: Socket): Promise<void> {
  return new Promise(resolve => {
    socket.once('close', () => resolve())
    write(socket, { header: { kind: 'close' } })
    socket.resume()
  })
}

function write(socket: Socket, { header, payload = noPayload }: Command): void {
  socket.cork()
  for (const piece of encodeFrame(header, payload)) {
    socket.write(piece)
  }
  socket.uncork()
}

/** Codes that a rank may report; any other becomes ENGINE_FAILED. */
const reportable = [
  'BACKEND_UNAVAILABLE',
  'CHECKPOINT_INVALID',
  'ENGINE_FAILED',
  'FILE_UNWRITABLE',
  'INTERNAL',
  'OPTION_INVALID',
  'WORLD_MISMATCH',
] as const

function reportedError(name: string, { header }: Frame): PenstockError {
  const code = reportable.find(known => known === header.code) ?? 'ENGINE_FAILED'
  const message = String(header.message)
  return new PenstockError(code, code === 'ENGINE_FAILED' ? `${name} of the torch engine failed: ${message}` : message)
}
