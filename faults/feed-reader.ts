import { setTimeout as sleep } from 'node:timers/promises'
import { type ApiClient, apiClient } from '../testing/api-client.ts'
import type { Ports } from '../testing/service-processes.ts'
import { type HeardEvent, heardAs, type Listener } from './listener.ts'

/** No divisor of what is written at once, so that pages end anywhere. */
const LIMIT = 97
const PATIENCE_MS = 4_000
const PAUSE_MS = 40
const REST_LIMIT_MS = 60_000

/**
 * Polls `GET /events` from the first event on, at one instance after another. It keeps the cursor of the last page that it got,
 * as the documents tell readers to.
 */
export function createFeedReader(instances: readonly Ports[], token: string): Listener {
  const apis = instances.map(({ orders }) => apiClient(`http://127.0.0.1:${orders}`, token))
  const heard: HeardEvent[] = []
  const refusals = new Map<number, number>()
  let cursor = ''
  let polls = 0
  let failed = 0
  let isAtEnd = false

  async function poll(): Promise<void> {
    const api = apis[polls++ % apis.length]
    const page = api && (await readPage(api, cursor).catch(() => undefined))
    isAtEnd = page?.status === 200 && !page.body.has_more
    if (page?.status === 200) {
      heard.push(...page.body.data.map(heardAs))
      cursor = page.body.next_cursor
      return
    }
    failed++
    if (page) refusals.set(page.status, (refusals.get(page.status) ?? 0) + 1)
  }

  return {
    name: 'feed reader',
    promise: 'once',
    begin: 0,
    wants: () => true,
    heard,
    async listen(over) {
      while (!over.aborted) {
        await poll()
        await sleep(PAUSE_MS)
      }
    },
    async hearRest(signal) {
      isAtEnd = false
      for (const until = Date.now() + REST_LIMIT_MS; !isAtEnd && !signal.aborted && Date.now() < until; ) await poll()
    },
    summary: () =>
      `${heard.length.toLocaleString('en')} events in ${polls.toLocaleString('en')} polls, ${failed.toLocaleString('en')} of them without a page`,
    troubles() {
      const wrong = [...refusals].filter(([status]) => status < 503)
      return [
        ...wrong.map(([status, times]) => `the feed was answered with ${status}, ${times} times`),
        ...(isAtEnd ? [] : ['the feed could not be read to its end']),
      ]
    },
  }
}

function readPage(api: ApiClient, cursor: string) {
  return api.get(`/events?limit=${LIMIT}&after=${cursor}`, { signal: AbortSignal.timeout(PATIENCE_MS) })
}
