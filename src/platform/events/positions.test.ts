import fc from 'fast-check'
import { expect, it, onTestFinished } from 'vitest'
import { createTestDatabase, describeEachEngine } from '../../../testing/system.ts'
import { parseEnv } from '../../compose/env.ts'
import { openDatabase } from '../database/open.ts'
import type { Database } from '../database/types.ts'
import { hasUnnumbered, inOrder, numberEvents, progressionsOf } from './positions.ts'

type Version = Parameters<typeof inOrder>[0][number]

const event = (id: number, resource_id: number, resource_version: number, resource_type = 'order'): Version => ({
  id,
  resource_type,
  resource_id,
  resource_version,
})

const ids = (events: readonly { id: number }[]) => events.map(({ id }) => id)

it('when a later version has a lower id, then it comes later all the same', () => {
  const events = [event(1, 7, 3), event(2, 8, 1), event(3, 7, 1), event(4, 7, 2, 'product'), event(5, 7, 2)]
  expect(ids(inOrder(events))).toEqual([3, 2, 5, 4, 1])
})

it('when two events tell of one version, then they stay in the order of their ids', () => {
  expect(ids(inOrder([event(9, 7, 2), event(4, 7, 2), event(6, 7, 1)]))).toEqual([6, 4, 9])
})

const someEvents = fc.uniqueArray(fc.integer({ min: 1, max: 400 }), { maxLength: 60 }).chain((all) =>
  fc.tuple(
    ...all.map((id) =>
      fc.record({
        id: fc.constant(id),
        resource_type: fc.constantFrom('order', 'product'),
        resource_id: fc.integer({ min: 1, max: 4 }),
        resource_version: fc.integer({ min: 1, max: 9 }),
      }),
    ),
  ),
)

const nameOf = ({ resource_type, resource_id }: Version) => `${resource_type} ${resource_id}`
const byId = (events: readonly Version[]) => events.toSorted((a, b) => a.id - b.id)

it('whatever the events, each comes once, and the versions of each resource rise', () => {
  fc.assert(
    fc.property(someEvents, (events) => {
      const ordered = inOrder(events)
      expect(ids(ordered).toSorted()).toEqual(ids(events).toSorted())
      for (const [, own] of Map.groupBy(ordered, nameOf)) {
        const versions = own.map(({ resource_version }) => resource_version)
        expect(versions).toEqual(versions.toSorted((a, b) => a - b))
      }
    }),
  )
})

it('whatever the events, a resource keeps its places in the order of ids', () => {
  fc.assert(
    fc.property(someEvents, (events) => {
      expect(inOrder(events).map(nameOf)).toEqual(byId(events).map(nameOf))
    }),
  )
})

it('when versions rise with the ids, then the order is that of the ids', () => {
  fc.assert(
    fc.property(someEvents, (events) => {
      const rising = byId(events).map((it, i) => ({ ...it, resource_version: i }))
      expect(ids(inOrder(rising.toReversed()))).toEqual(ids(rising))
    }),
  )
})

it.each([
  [[], []],
  [[5], [[5]]],
  [[5, 6, 7], [[5, 6, 7]]],
  [
    [1, 4, 7, 8],
    [[1, 4, 7], [8]],
  ],
  [
    [3, 2, 1],
    [[3], [2], [1]],
  ],
  [
    [1, 2, 9, 10, 11],
    [
      [1, 2],
      [9, 10, 11],
    ],
  ],
])('when ids are %j, then the runs are %j', (all, runs) => {
  expect(progressionsOf(all).map(({ ids }) => ids)).toEqual(runs)
})

it('whatever the ids, each gets the position of its place by the formula of its run', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 99 })), (all) => {
      const runs = progressionsOf(all)
      expect(runs.flatMap(({ ids }) => ids)).toEqual(all)
      for (const { ids, step, index } of runs) {
        const [first = 0] = ids
        for (const [i, id] of ids.entries()) expect((id - first) / step).toBe(i)
        expect(all[index]).toBe(first)
      }
    }),
  )
})

describeEachEngine('numbering', (engine) => {
  async function newDatabase() {
    const made = await createTestDatabase(engine)
    onTestFinished(made.drop)
    return made
  }

  async function write(db: Database, events: readonly Version[]): Promise<void> {
    const rest = { type: 'order.updated', customer_id: null, actor: 'system:test', data: '{}' }
    const none = { correlation_id: null, traceparent: null, reason: null }
    const rows = events.map((it) => ({ ...it, ...rest, ...none, occurred_at: '2026-01-05 09:00:00.000' }))
    for (let i = 0; i < rows.length; i += 1_000) {
      await db
        .insertInto('events')
        .values(rows.slice(i, i + 1_000))
        .execute()
    }
  }

  async function numberAll(db: Database): Promise<number> {
    for (let calls = 1; ; calls++) if (await numberEvents(db)) return calls
  }

  /** The ids of all events by their positions, which must be 1, 2, 3, … */
  async function numbered(db: Database): Promise<number[]> {
    const rows = await db.selectFrom('events').select(['id', 'position']).orderBy('position').execute()
    const feed = await db.selectFrom('event_feed').select('position').executeTakeFirstOrThrow()
    expect(rows.map(({ position }) => position)).toEqual(rows.map((_, i) => i + 1))
    expect(feed.position).toBe(rows.length)
    return ids(rows)
  }

  it('when there is nothing, then nothing is numbered', async () => {
    const { db } = await newDatabase()
    expect([await hasUnnumbered(db), await numberEvents(db)]).toEqual([false, true])
    expect(await numbered(db)).toEqual([])
  })

  it('when ids have gaps and steps, then positions have none', async () => {
    const { db } = await newDatabase()
    const all = [2, 5, 8, 11, 12, 13, 40, 43, 1_000_000]
    await write(
      db,
      all.map((id) => event(id, id, 1)),
    )
    expect(await hasUnnumbered(db)).toBe(true)
    expect(await numberEvents(db)).toBe(true)
    expect(await hasUnnumbered(db)).toBe(false)
    expect(await numbered(db)).toEqual(all)
    // A node of a cluster takes a lower id later.
    await write(db, [event(41, 41, 1)])
    await numberEvents(db)
    expect(await numbered(db)).toEqual([...all, 41])
  })

  it('when a call numbers its most, then it says that more may follow', async () => {
    const { db } = await newDatabase()
    await write(
      db,
      Array.from({ length: 1_200 }, (_, i) => event(i + 1, i + 1, 1)),
    )
    expect(await numberAll(db)).toBe(3)
    expect(await numbered(db)).toHaveLength(1_200)
  })

  it('when an earlier version is beyond the call, then it comes first all the same', async () => {
    const { db } = await newDatabase()
    const others = Array.from({ length: 998 }, (_, i) => event(i + 2, 100 + i, 1))
    await write(db, [event(1, 7, 3), ...others, event(1_000, 7, 2), event(1_001, 7, 1), event(1_002, 7, 4)])
    expect(await numberAll(db)).toBeGreaterThan(1)
    const order = await numbered(db)
    const places = [1_001, 1_000, 1, 1_002].map((id) => order.indexOf(id))
    expect(places).toEqual(places.toSorted((a, b) => a - b))
    expect(order).toHaveLength(1_002)
  })

  it('when all of a call have earlier versions beyond it, then all these come first', async () => {
    const { db } = await newDatabase()
    const later = Array.from({ length: 500 }, (_, i) => event(i + 1, i + 1, 2))
    const earlier = Array.from({ length: 500 }, (_, i) => event(i + 501, i + 1, 1))
    await write(db, [...later, ...earlier])
    await numberAll(db)
    const order = await numbered(db)
    for (const { id, resource_id } of earlier) expect(order.indexOf(id)).toBeLessThan(order.indexOf(resource_id))
  })

  it('when many connections number and write at once, then each event has one position', async () => {
    const { db, variables } = await newDatabase()
    const others = await Promise.all(
      Array.from({ length: 4 }, () => openDatabase(parseEnv({ ...variables, DB_POOL: '2' }).database)),
    )
    onTestFinished(async () => {
      for (const other of others) await other.destroy()
    })
    const eventsOf = (writer: number) =>
      Array.from({ length: 400 }, (_, i) => event(i * 10 + writer + 1, i % 7, i * 10 + writer))
    await Promise.all(
      [db, ...others].map(async (own, writer) => {
        for (const one of chunksOf(eventsOf(writer), 40)) {
          await write(own, one)
          await numberEvents(own)
        }
      }),
    )
    await Promise.all(others.map(numberAll))
    expect(new Set(await numbered(db)).size).toBe(2_000)
  })
})

function chunksOf<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size))
}
