import { createServer, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { Webhook } from 'standardwebhooks'
import { onTestFinished } from 'vitest'
import { listen } from './listen.ts'

/** What a receiver got in one request. */
export interface Received {
  headers: IncomingHttpHeaders
  body: string
  event: ReceivedEvent
  at: number
}

export interface ReceivedEvent {
  id: string
  type: string
  position: number
  resource: { type: string; id: number; version: number }
  // biome-ignore lint/suspicious/noExplicitAny: the data of any event
  data: any
}

export interface Answer {
  status: number
  headers?: Record<string, string>
  body?: string
}

export interface Receiver {
  url: string
  received: Received[]
  /** Answers each request from now on. Default: 200 */
  answer: (received: Received) => Answer | Promise<Answer>
  /** The ids of the events of the requests that got a 2xx, in their order. */
  taken: string[]
  /** Throws when a request was not signed with the secret. */
  verifyAll(secret: string): void
}

/** A receiver of webhooks on loopback, until the test ends. */
export async function startReceiver(): Promise<Receiver> {
  const receiver: Receiver = {
    url: '',
    received: [],
    taken: [],
    answer: () => ({ status: 200 }),
    verifyAll(secret) {
      const webhook = new Webhook(secret)
      for (const { body, headers } of receiver.received) webhook.verify(body, headers as Record<string, string>)
    },
  }
  const server = createServer(async (request, response) => {
    const body = await textOf(request)
    const received = { headers: request.headers, body, event: JSON.parse(body), at: Date.now() }
    receiver.received.push(received)
    const { status, headers, body: answer = 'ok' } = await receiver.answer(received)
    if (status >= 200 && status < 300) receiver.taken.push(received.event.id)
    response.writeHead(status, headers).end(answer)
  })
  const port = await listen(server)
  receiver.url = `http://127.0.0.1:${port}/hook`
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return receiver
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
