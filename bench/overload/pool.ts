import { Connection, type WireResponse } from '../http.ts'

/** Shorter than servers keep one, so that none is used at the moment in which it is closed at the other end. */
const MAX_IDLE_MS = 3_000

/** Connections to one port: kept and used again, the one used last first; new ones when all are busy, up to a bound. */
export class Pool {
  /** How many were opened. */
  opened = 0
  readonly #port: number
  readonly #most: number
  readonly #idle: { connection: Connection; since: number }[] = []
  #busy = 0

  constructor(port: number, most: number) {
    this.#port = port
    this.#most = most
  }

  /** @returns undefined when as many as there may be are busy */
  ask(request: string): Promise<WireResponse> | undefined {
    const connection = this.#idleOne() ?? (this.#busy < this.#most ? this.#newOne() : undefined)
    return connection && this.#use(connection, request)
  }

  async #use(connection: Connection, request: string): Promise<WireResponse> {
    this.#busy++
    try {
      const response = await connection.ask(request)
      if (/\r\nconnection: *close/i.test(response.head)) connection.close()
      else this.#idle.push({ connection, since: performance.now() })
      return response
    } catch (error) {
      connection.close()
      throw error
    } finally {
      this.#busy--
    }
  }

  #idleOne(): Connection | undefined {
    const tooOld = performance.now() - MAX_IDLE_MS
    for (;;) {
      const { connection, since } = this.#idle.pop() ?? {}
      if (connection === undefined || since === undefined) return undefined
      if (connection.open && since > tooOld) return connection
      connection.close()
    }
  }

  #newOne(): Connection {
    this.opened++
    return new Connection(this.#port)
  }
}
