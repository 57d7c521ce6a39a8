import { describe, expect, it } from 'vitest'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { missedChanges } from './backfill-events.ts'
import type { OrderRow } from './store.ts'

const SINCE = '2026-01-05 00:00:00.000'
const [CREATED, CONFIRMED, CANCELED] = [10, 11, 12].map((hour) => `2026-01-05 ${hour}:00:00.000`)
const OLD = '2026-01-01 00:00:00.000'
const TYPES = { p: 'order.placed', c: 'order.confirmed', x: 'order.canceled', u: 'order.updated' }

interface Given {
  version: number
  /** The events that there are, such as `1p 3c`. */
  events?: string
  confirmed_at?: string | null | undefined
  canceled_at?: string | null | undefined
  created_at?: string | undefined
  all?: boolean
}

/** The missed changes, such as `1p 2c`. */
function missed({ events = '', all = false, ...fields }: Given): string {
  const row = { created_at: CREATED, confirmed_at: null, canceled_at: null, ...fields }
  const recorded = events.split(' ').filter(Boolean).map(recordedOf)
  const changes = missedChanges(unsafeCast<OrderRow>(row), recorded, { all, since: SINCE })
  return changes.map(({ version, type }) => `${version}${letterOf(type)}`).join(' ')
}

function recordedOf(text: string) {
  const letter = unsafeCast<keyof typeof TYPES>(text.slice(-1))
  return { resource_version: Number(text.slice(0, -1)), type: TYPES[letter] }
}

function letterOf(type: string): string {
  return Object.entries(TYPES).find(([, name]) => name === type)?.[0] ?? '?'
}

describe('the changes of an order that lack an event', () => {
  it.each<[string, Given, string]>([
    ['none', { version: 2, events: '1p 2c', confirmed_at: CONFIRMED }, ''],
    ['its placement', { version: 1 }, '1p'],
    ['its placement, confirmed at once', { version: 1, confirmed_at: CREATED }, '1p'],
    ['its confirmation', { version: 2, events: '1p', confirmed_at: CONFIRMED }, '2c'],
    ['all of a canceled order', { version: 3, confirmed_at: CONFIRMED, canceled_at: CANCELED }, '1p 2c 3x'],
    ['a cancellation alone', { version: 2, canceled_at: CANCELED }, '1p 2x'],
    ['a change between', { version: 3, events: '1p 3c', confirmed_at: CONFIRMED }, '2u'],
    ['changes and a cancellation', { version: 5, events: '1p', canceled_at: CANCELED }, '2u 3u 4u 5x'],
    ['a change of an order confirmed at once', { version: 2, events: '1p', confirmed_at: CREATED }, '2u'],
    ['more than there are versions', { version: 2, confirmed_at: CONFIRMED, canceled_at: CANCELED }, '1p 2x'],
    ['an order of a version without versions', { version: 1, confirmed_at: CONFIRMED, canceled_at: CANCELED }, '1p'],
    ['all but the last', { version: 3, events: '3x', confirmed_at: CONFIRMED, canceled_at: CANCELED }, '1p 2c'],
  ])('when that is %s, then it is told', (_, given, expected) => expect(missed(given)).toBe(expected))

  const old = { created_at: OLD, confirmed_at: CONFIRMED }

  it.each<[Given, string]>([
    [{ ...old, version: 2 }, ''],
    [{ ...old, version: 3, events: '2c 3u' }, ''],
    [{ ...old, version: 5, events: '2c', canceled_at: CANCELED }, '3u 4u 5x'],
    [{ ...old, version: 5, events: '3u 5x', canceled_at: CANCELED }, '4c'],
  ])('when an older order has %j, then only what follows its first event: %j', (given, expected) => {
    expect(missed(given)).toBe(expected)
  })

  it.each<[Given, string]>([
    [{ ...old, version: 2 }, '2p'],
    [{ ...old, version: 3, events: '3u' }, '2p'],
    [{ ...old, version: 3, events: '2p 3u' }, ''],
    [{ ...old, version: 4, events: '2p 4x', canceled_at: CANCELED }, '3c'],
  ])('when all older orders count, and one has %j, then it is placed once: %j', (given, expected) => {
    expect(missed({ ...given, all: true })).toBe(expected)
  })

  it('when a change has a time, then that of the row', () => {
    const row = { created_at: CREATED, confirmed_at: CONFIRMED, canceled_at: CANCELED, version: 4 }
    const changes = missedChanges(unsafeCast<OrderRow>(row), [], { all: false, since: SINCE })
    expect(changes.map(({ occurredAt }) => occurredAt)).toEqual([CREATED, CONFIRMED, undefined, CANCELED])
  })
})
