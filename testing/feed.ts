import { expect } from 'vitest'
import type { ApiResponse } from './api-client.ts'
import type { TestSystem } from './system.ts'

/** An event as callers see it. */
export type ListedEvent = ApiResponse['body']

/** The cursor of the end of the feed. */
export async function endOfFeed({ orders }: TestSystem): Promise<string> {
  return (await orders.get('/events?after=latest')).body.next_cursor
}

/**
 * Reads the feed from a cursor to its end.
 * @param query more parameters, such as `&types=order.*`
 */
export async function readOn(
  { orders }: TestSystem,
  after: string,
  query = '',
  token?: string,
): Promise<{ events: ListedEvent[]; cursor: string; pages: number }> {
  const events: ListedEvent[] = []
  for (let cursor = after, pages = 1; ; pages++) {
    const request = token === undefined ? {} : { token }
    const { status, body } = await orders.get(`/events?after=${cursor}${query}`, request)
    expect(status).toBe(200)
    events.push(...body.data)
    cursor = body.next_cursor
    if (!body.has_more) return { events, cursor, pages }
  }
}

/** What happens in the feed while some work is done. @param query more parameters, such as `&resource=order:5` */
export async function eventsOf(
  system: TestSystem,
  work: () => Promise<unknown>,
  query?: string,
): Promise<ListedEvent[]> {
  const start = await endOfFeed(system)
  await work()
  return (await readOn(system, start, query)).events
}

export function typesOf(events: readonly ListedEvent[]): string[] {
  return events.map(({ type }) => type)
}

/** The events of a resource, e.g. `order:5`. */
export function resourceOf(type: string, { id }: { id: number }): string {
  return `&resource=${type}:${id}`
}
