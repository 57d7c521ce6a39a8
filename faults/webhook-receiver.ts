import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { Webhook } from 'standardwebhooks'
import type { Event } from '../src/events/event-response.ts'
import { type ApiClient, apiClient } from '../testing/api-client.ts'
import { listen } from '../testing/listen.ts'
import type { Random } from '../testing/random.ts'
import type { Ports } from '../testing/service-processes.ts'
import { type HeardEvent, heardAs, type Listener } from './listener.ts'

export interface ReceiverPlan {
  name: string
  eventTypes: readonly string[]
  random: Random
}

interface Pending {
  id: number
  next_attempt_at: string | null
}

const POLL_MS = 500
const PATIENCE_MS = 4_000
const REST_POLL_MS = 5_000
/** So long it hears nothing before it gives up. */
const SILENCE_LIMIT_MS = 60_000
const UP_MS = [3_000, 9_000] as const
const DOWN_MS = [200, 2_500] as const

/** What a receiver does with a request, and how often in a hundred. */
const HABITS = [
  ['take it', 72],
  ['take it late', 6],
  ['take it and lose the answer', 4],
  ['lose the connection', 5],
  ['500', 6],
  ['429', 2],
  ['503', 2],
  ['302', 1],
  ['410', 1],
  ['never answer', 1],
] as const
type Habit = (typeof HABITS)[number][0]

/**
 * A receiver of webhooks that is slow, refuses, loses connections, and goes away again and again. When nothing is broken any
 * more it takes everything, and asks for what waits for a later attempt.
 */
export async function createWebhookReceiver(
  instances: readonly Ports[],
  token: string,
  { name, eventTypes, random }: ReceiverPlan,
): Promise<Listener> {
  const api = apiClient(`http://127.0.0.1:${instances[0]?.orders}`, token)
  const heard: HeardEvent[] = []
  const faults: string[] = []
  const counts = new Map<string, number>()
  let isHealthy = false
  let webhook: Webhook | undefined

  const count = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1)

  async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await textOf(request)
    const event: Event = JSON.parse(body)
    try {
      webhook?.verify(body, headersOf(request))
    } catch (error) {
      faults.push(`${name} got ${event.id} with a wrong signature: ${error}`)
    }
    const habit = isHealthy ? 'take it' : habitOf(random)
    count(habit)
    await behave(habit, response, () => heard.push(heardAs(event)))
  }

  async function openServer(at?: number): Promise<Server> {
    const opened = createServer((request, response) => {
      receive(request, response).catch(() => request.destroy())
    })
    port = await listen(opened, at)
    return opened
  }

  function goAway(): void {
    server.close()
    server.closeAllConnections()
  }

  let port = 0
  let server = await openServer()
  const url = `http://127.0.0.1:${port}/`
  const created = await api.post('/webhook-endpoints', { url, event_types: eventTypes })
  if (created.status !== 201) throw new Error(`no endpoint: ${created.status} ${JSON.stringify(created.body)}`)
  const { id, secret } = created.body
  // Nothing happens yet, so the endpoint begins at the end of the feed.
  const begin = positionIn((await api.get('/events?after=latest')).body.next_cursor)
  webhook = new Webhook(secret)

  /** As somebody would who sees that it is disabled after a 410. */
  async function enable(): Promise<void> {
    const endpoint = await read(api, `/webhook-endpoints/${id}`)
    if (endpoint?.status !== 'disabled') return
    count(`disabled: ${endpoint.disabled_reason}`)
    await api.patch(`/webhook-endpoints/${id}`, { status: 'enabled' }, bounded()).catch(() => {})
  }

  async function comeAndGo(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      await sleep(random.whole(...UP_MS), undefined, { signal: over }).catch(() => {})
      if (over.aborted) return
      count('gone for a while')
      goAway()
      await sleep(random.whole(...DOWN_MS))
      server = await openServer(port)
    }
  }

  return {
    name,
    promise: 'at least once',
    begin,
    wants: (type) => eventTypes.some((pattern) => pattern === '*' || type.startsWith(pattern.slice(0, -1))),
    heard,
    async listen(over) {
      const going = comeAndGo(over)
      while (!over.aborted) {
        await enable()
        await sleep(POLL_MS)
      }
      await going
    },
    async hearRest(signal) {
      isHealthy = true
      let waiting: number | undefined
      let [known, knownAt] = [heard.length, Date.now()]
      while (!signal.aborted && Date.now() - knownAt < SILENCE_LIMIT_MS) {
        await enable()
        const pending = await readPending(api, id)
        waiting = pending?.length
        if (waiting === 0 && (await isAtEnd(api, heard, eventTypes, begin))) return goAway()
        for (const delivery of (pending ?? []).filter(isPaused)) {
          await api.post(`/webhook-deliveries/${delivery.id}/redeliver`, undefined, bounded()).catch(() => {})
        }
        if (heard.length > known) [known, knownAt] = [heard.length, Date.now()]
        // To read all that waits takes the services' time from sending it.
        await sleep(REST_POLL_MS)
      }
      goAway()
      faults.push(`${name} heard nothing more, and ${waiting ?? 'an unknown number of'} deliveries wait`)
    },
    summary() {
      const distinct = new Set(heard.map((event) => event.id)).size
      const habits = [...counts].map(([what, times]) => `${what} ${times.toLocaleString('en')}`).join(', ')
      return `${distinct.toLocaleString('en')} events, ${heard.length.toLocaleString('en')} times; ${habits}`
    },
    troubles: () => faults.slice(0, 5),
  }
}

/** All that an endpoint has not got yet. @returns undefined when the services could not answer */
async function readPending(api: ApiClient, endpointId: number): Promise<Pending[] | undefined> {
  const found: Pending[] = []
  for (let cursor = ''; ; ) {
    const page = await read(api, `/webhook-endpoints/${endpointId}/deliveries?status=pending&limit=100${cursor}`)
    if (page === undefined) return undefined
    found.push(...page.data)
    if (!page.next_cursor) return found
    cursor = `&cursor=${page.next_cursor}`
  }
}

/** Whether a delivery has failed and waits. Others are due, or wait for an earlier one of their resource. */
function isPaused({ next_attempt_at }: Pending): boolean {
  return next_attempt_at !== null && Date.parse(next_attempt_at) > Date.now() + POLL_MS
}

/** Whether the newest event of these types was heard. */
async function isAtEnd(
  api: ApiClient,
  heard: readonly HeardEvent[],
  types: readonly string[],
  begin: number,
): Promise<boolean> {
  const last = heard.reduce((most, { position }) => Math.max(most, position), begin)
  const after = Buffer.from(JSON.stringify(['events', last])).toString('base64url')
  for (let cursor = after; ; ) {
    const page = await read(api, `/events?types=${types.join(',')}&limit=500&after=${cursor}`)
    if (page === undefined || page.data.length > 0) return false
    if (!page.has_more) return true
    cursor = page.next_cursor
  }
}

/** The position in a cursor of the feed. */
function positionIn(cursor: string): number {
  return JSON.parse(Buffer.from(cursor, 'base64url').toString())[1]
}

async function behave(habit: Habit, response: ServerResponse, take: () => void): Promise<void> {
  switch (habit) {
    case 'take it late':
      await sleep(1_500)
      break
    case 'take it and lose the answer':
      take()
      response.destroy()
      return
    case 'lose the connection':
      response.destroy()
      return
    case 'never answer':
      return
    case 'take it':
      break
    case '429':
    case '503':
      response.writeHead(Number(habit), { 'retry-after': '1' }).end('later')
      return
    case '302':
      response.writeHead(302, { location: '/elsewhere' }).end()
      return
    default:
      response.writeHead(Number(habit)).end('no')
      return
  }
  take()
  response.writeHead(200).end('ok')
}

function habitOf(random: Random): Habit {
  let rest = random.whole(0, 99)
  for (const [habit, share] of HABITS) {
    if (rest < share) return habit
    rest -= share
  }
  return 'take it'
}

function bounded() {
  return { signal: AbortSignal.timeout(PATIENCE_MS) }
}

/** @returns undefined when the services could not answer */
async function read(api: ApiClient, path: string) {
  const response = await api.get(path, bounded()).catch(() => undefined)
  return response?.status === 200 ? response.body : undefined
}

function headersOf({ headers }: IncomingMessage): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([header, value]) => [header, String(value)]))
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}
