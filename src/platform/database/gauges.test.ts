import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { createTestDatabase, describeEachEngine, type TestDatabase } from '../../../testing/system.ts'
import { addMs } from '../core/time.ts'
import { readClock } from './clock.ts'
import { createGaugeReader, type DatabaseGauge, readGauges } from './gauges.ts'

function gauge(kind: DatabaseGauge['kind'], select: string, labels: string[] = []): DatabaseGauge {
  return { kind, series: { kind: 'gauge', name: 'any', help: 'Any.', labels }, select: () => select }
}

describeEachEngine('gauges', (engine) => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createTestDatabase(engine)
  })
  afterAll(() => database.drop())

  const valuesOf = async (...gauges: DatabaseGauge[]) => {
    const read = await readGauges(database.db, gauges)
    return gauges.map((one) => read.get(one))
  }

  it('when they are read, then numbers, labels and times are what the database says', async () => {
    const now = await readClock(database.db)
    const [number, labeled, time, age] = await valuesOf(
      gauge('number', 'select 7 as value from event_feed'),
      gauge('number', "select 'a' as label, 1 as value from event_feed union all select 'b', 2 from event_feed", [
        'name',
      ]),
      gauge('time', "select '2026-01-05 09:00:00.500' as value from event_feed"),
      gauge('age', `select '${addMs(now, -90_000)}' as value from event_feed`),
    )
    expect(number).toEqual([{ labels: [], value: 7 }])
    expect(labeled).toEqual([
      { labels: ['a'], value: 1 },
      { labels: ['b'], value: 2 },
    ])
    expect(time).toEqual([{ labels: [], value: Date.UTC(2026, 0, 5, 9) / 1_000 + 0.5 }])
    expect(age).toEqual([{ labels: [], value: expect.closeTo(90, -1) }])
  })

  it('when there is no row or no value, then only ages have one: nothing waits', async () => {
    const nothing = ['select 1 as value from event_feed where 1 = 0', 'select null as value from event_feed']
    for (const select of nothing) {
      const zero = [{ labels: [], value: 0 }]
      expect(await valuesOf(gauge('number', select), gauge('time', select), gauge('age', select))).toEqual([
        [],
        [],
        zero,
      ])
    }
  })

  it('when a time is in the future, then its age is 0', async () => {
    const [age] = await valuesOf(gauge('age', "select '2999-01-01 00:00:00.000' as value from event_feed"))
    expect(age).toEqual([{ labels: [], value: 0 }])
  })

  it('when many read within 10 s, then the database is asked once', async () => {
    const { db } = database
    const asked = vi.spyOn(db, 'getExecutor')
    onTestFinished(() => asked.mockRestore())
    let now = 0
    const read = createGaugeReader(db, [gauge('number', 'select 7 as value from event_feed')], () => now)
    const calls = async () => {
      const before = asked.mock.calls.length
      const values = await Promise.all([read(), read(), read()])
      for (const one of values) expect([...one.values()]).toEqual([[{ labels: [], value: 7 }]])
      return asked.mock.calls.length - before
    }
    const once = await calls()
    expect(once).toBeGreaterThan(0)
    now = 9_999
    expect(await calls()).toBe(0)
    now = 10_000
    expect(await calls()).toBe(once)
  })

  it('when a select fails, then none has a value, and it is tried again after 10 s', async () => {
    const { db } = database
    let now = 0
    const gauges = [
      gauge('number', 'select 7 as value from event_feed'),
      gauge('number', 'select x as value from later'),
    ]
    const read = createGaugeReader(db, gauges, () => now)
    expect((await read()).size).toBe(0)
    await sql`create table later (x int not null)`.execute(db)
    now = 9_999
    expect((await read()).size).toBe(0)
    now = 10_000
    expect((await read()).size).toBe(2)
  })
})

describe.each(inject('mysql') === null ? [] : ['MySQL'])('gauges of a slow %s', () => {
  it('when it takes longer than a second, then none has a value', async () => {
    const { db, drop } = await createTestDatabase('mysql')
    onTestFinished(drop)
    const slow = gauge('number', 'select sleep(5) as value from event_feed')
    const read = createGaugeReader(db, [slow, gauge('number', 'select 7 as value from event_feed')])
    const start = performance.now()
    expect((await read()).size).toBe(0)
    expect(performance.now() - start).toBeLessThan(3_000)
  })
})
