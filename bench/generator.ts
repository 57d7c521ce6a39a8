import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Ground, type Shot, WORKLOADS, type Workload } from './workloads.ts'

/**
 * The load, in a process of its own: so many connections, each with one request under way. It speaks plain HTTP/1.1 over
 * sockets, because on a small machine a whole client would cost about as much as the systems that it measures.
 */
export interface Load {
  workload: string
  port: number
  connections: number
  warmMs: number
  measureMs: number
  ground: Ground
}

export type Told = { kind: 'began' } | { kind: 'ended' } | { kind: 'result'; result: Result }

/** Of the time that is measured, but for `accepted`. */
export interface Result {
  done: number
  errors: number
  seconds: number
  p50: number
  p99: number
  max: number
  /** Answers of success, those before and after the time that is measured included. */
  accepted: number
  firstError: string | undefined
}

interface Tally {
  measuring: boolean
  stopping: boolean
  accepted: number
  errors: number
  latencies: number[]
  firstError: string | undefined
}

const LONGEST_ANSWER_MS = 15_000
const PAUSE_AFTER_ERROR_MS = 50

// Ctrl-C reaches the whole group of processes: this one ends when the one that started it lets go.
process.on('SIGINT', () => {})
process.on('disconnect', () => process.exit(0))
process.on('message', async (load: Load) => {
  tell({ kind: 'result', result: await generate(load) })
})

function tell(message: Told): void {
  process.send?.(message)
}

async function generate(load: Load): Promise<Result> {
  const workload = WORKLOADS.find(({ name }) => name === load.workload)
  if (workload === undefined) throw new Error(`no workload ${load.workload}`)
  const tally: Tally = {
    measuring: false,
    stopping: false,
    accepted: 0,
    errors: 0,
    latencies: [],
    firstError: undefined,
  }
  const callers = Array.from({ length: load.connections }, () => call(load, workload, tally))
  await sleep(load.warmMs)
  tell({ kind: 'began' })
  tally.measuring = true
  const began = performance.now()
  await sleep(load.measureMs)
  tally.measuring = false
  const seconds = (performance.now() - began) / 1000
  tell({ kind: 'ended' })
  tally.stopping = true
  await Promise.all(callers)
  return { ...summarise(tally), seconds }
}

/** One caller: its next request when its last was answered. */
async function call({ port, ground }: Load, workload: Workload, tally: Tally): Promise<void> {
  let connection = new Connection(port)
  while (!tally.stopping) {
    const began = performance.now()
    try {
      const { status, text } = await connection.ask(textOf(workload.shot(ground)))
      if (status !== workload.status) throw new Error(`${status}: ${text.slice(0, 500)}`)
      tally.accepted++
      if (tally.measuring) tally.latencies.push(performance.now() - began)
    } catch (error) {
      tally.firstError ??= String(error)
      if (tally.measuring) tally.errors++
      connection.close()
      await sleep(PAUSE_AFTER_ERROR_MS)
      connection = new Connection(port)
    }
  }
  connection.close()
}

function textOf({ method, path, headers = {}, body }: Shot): string {
  const text = body === undefined ? '' : JSON.stringify(body)
  const fields = {
    host: '127.0.0.1',
    ...headers,
    ...(body !== undefined && { 'content-type': 'application/json' }),
    ...(method === 'POST' && { 'content-length': String(text.length) }),
  }
  const head = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${head.join('')}\r\n${text}`
}

interface Answer {
  status: number
  text: string
}

class Connection {
  readonly #socket: Socket
  #received = ''
  #failure: Error | undefined
  #waiting: { resolve(answer: Answer): void; reject(error: Error): void } | undefined

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true })
    // A character a byte, so that lengths are those of the headers.
    this.#socket.setEncoding('latin1')
    this.#socket.setTimeout(LONGEST_ANSWER_MS, () => this.#socket.destroy(new Error('no answer in time')))
    this.#socket.on('data', (text: string) => this.#receive(text))
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the connection was closed')))
  }

  ask(request: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure)
      this.#waiting = { resolve, reject }
      this.#received = ''
      this.#socket.write(request, 'latin1')
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #receive(text: string): void {
    this.#received += text
    const answer = wholeAnswer(this.#received)
    if (answer === undefined) return
    this.#waiting?.resolve(answer)
    this.#waiting = undefined
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#waiting?.reject(this.#failure)
    this.#waiting = undefined
  }
}

/** An answer with its length in the head, or in chunks, as JSON comes: no line of it is a lone zero but the last. */
function wholeAnswer(received: string): Answer | undefined {
  const end = received.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const head = received.slice(0, end)
  const text = received.slice(end + 4)
  const [, length] = /\r\ncontent-length: *(\d+)/i.exec(head) ?? []
  const whole = length === undefined ? text.endsWith('0\r\n\r\n') : text.length >= Number(length)
  return whole ? { status: Number(head.slice(9, 12)), text } : undefined
}

function summarise({ latencies, errors, accepted, firstError }: Tally) {
  const sorted = Float64Array.from(latencies).sort()
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { done: latencies.length, errors, p50: at(0.5), p99: at(0.99), max: at(1), accepted, firstError }
}
