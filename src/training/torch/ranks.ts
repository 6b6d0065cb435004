/**
 * The ranks of this machine, as Node sees them: a Unix socket on which each connects once, commands that all of them get,
 * and their answers in the order of the commands. A rank that goes away fails everything that waits: the others would
 * wait for it for ever.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { PenstockError } from '../../errors.js'
import { encodeFrame, type Frame, FrameDecoder } from './frames.js'

export interface RankFacts {
  readonly rank: number
  readonly worldSize: number
  readonly localWorldSize: number
  readonly device: string
  /** Floating-point operations a second of its device, 0 where unknown. */
  readonly peakFlops: number
}

export interface Command {
  readonly header: Readonly<Record<string, unknown>>
  readonly payload?: Uint8Array
}

interface Connection {
  readonly facts: RankFacts
  readonly socket: Socket
  readonly waiting: { resolve(frame: Frame): void; reject(error: PenstockError): void }[]
}

const nothing = new Uint8Array(0)

export class Ranks {
  readonly #server: Server
  readonly #connections: Connection[] = []
  readonly #sockets = new Set<Socket>()
  readonly #complete: Promise<void>
  #settleComplete: (error?: PenstockError) => void = () => {}
  #failure: PenstockError | undefined
  #closing = false

  private constructor(server: Server) {
    this.#server = server
    this.#complete = new Promise((resolve, reject) => {
      this.#settleComplete = error => (error === undefined ? resolve() : reject(error))
    })
    this.#complete.catch(() => {})
    server.on('connection', socket => this.#welcome(socket))
  }

  /** Listens at a path inside a folder that only this user may enter. @throws ENGINE_FAILED */
  static async listen(path: string): Promise<Ranks> {
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', error => {
        reject(new PenstockError('ENGINE_FAILED', `the ranks' socket cannot be opened: ${error.message}`, {}, error))
      })
      server.listen(path, resolve)
    })
    return new Ranks(server)
  }

  /** By rank. */
  get facts(): readonly RankFacts[] {
    return this.#connections.map(connection => connection.facts)
  }

  /** Settles when all ranks of this machine are there. */
  complete(): Promise<void> {
    return this.#complete
  }

  /** Fails all that waits and all that is asked from now on; the first reason stays. */
  fail(error: PenstockError): void {
    if (this.#failure !== undefined || this.#closing) {
      return
    }
    this.#failure = error
    this.#settleComplete(error)
    for (const { waiting } of this.#connections) {
      for (const { reject } of waiting.splice(0)) {
        reject(error)
      }
    }
  }

  /**
   * Sends each rank its command.
   * @returns their answers, by rank
   * @throws ENGINE_FAILED, or what a rank reports
   */
  async ask(commandOf: (facts: RankFacts) => Command): Promise<readonly Frame[]> {
    if (this.#failure !== undefined) {
      throw this.#failure
    }
    return Promise.all(this.#connections.map(connection => this.#send(connection, commandOf(connection.facts))))
  }

  /** Lets the ranks end by themselves. When something failed, and after `graceMs` where that is given, they are cut off. */
  async close(graceMs: number | undefined): Promise<void> {
    this.#closing = true
    if (this.#failure === undefined) {
      const timer = graceMs === undefined ? undefined : setTimeout(() => this.cut(), graceMs)
      await Promise.all(this.#connections.map(({ socket }) => closeInOrder(socket)))
      clearTimeout(timer)
    }
    this.cut()
  }

  /** Closes every socket: a rank whose socket closes ends at once, whatever it waits for. */
  cut(): void {
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

  #welcome(socket: Socket): void {
    this.#sockets.add(socket)
    const decoder = new FrameDecoder()
    let connection: Connection | undefined
    const nameOf = () => (connection === undefined ? 'a rank' : `rank ${connection.facts.rank}`)
    socket.on('data', chunk => {
      for (const frame of decoder.push(chunk)) {
        if (frame.header.kind === 'failed') {
          this.fail(reportedError(nameOf(), frame))
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
      this.fail(new PenstockError('ENGINE_FAILED', `${nameOf()} of the torch engine ended unexpectedly`))
    })
  }

  #register(socket: Socket, { header }: Frame): Connection {
    const facts = header as unknown as RankFacts
    const connection = { facts, socket, waiting: [] }
    this.#connections.push(connection)
    this.#connections.sort((a, b) => a.facts.rank - b.facts.rank)
    if (this.#connections.length === facts.localWorldSize) {
      this.#settleComplete()
    }
    return connection
  }
}

function closeInOrder(socket: Socket): Promise<void> {
  return new Promise(resolve => {
    socket.once('close', () => resolve())
    write(socket, { header: { kind: 'close' } })
    socket.resume()
  })
}

function write(socket: Socket, { header, payload = nothing }: Command): void {
  socket.cork()
  for (const piece of encodeFrame(header, payload)) {
    socket.write(piece)
  }
  socket.uncork()
}

/** Codes that a rank may report; anything else is a failure of the engine. */
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
