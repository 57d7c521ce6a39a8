import { afterAll, beforeEach, expect, it } from 'vitest'
import { createTestDatabase, describeEachEngine, type TestDatabase } from '../../../testing/system.ts'
import { addDays } from '../core/time.ts'
import { readClock } from '../database/clock.ts'
import { firstPosition } from './feed.ts'
import { deleteEvents } from './retention.ts'

describeEachEngine('the retention of events', (engine) => {
  let database: TestDatabase
  beforeEach(async () => {
    database ??= await createTestDatabase(engine)
    await database.db.deleteFrom('events').execute()
  })
  afterAll(() => database.drop())

  /** Events of these ages, by position; without a position where the age is negative. */
  async function writeEvents(daysOld: number[]) {
    const now = await readClock(database.db)
    const about = { type: 'thing.made', resource_type: 'thing', resource_version: 1, actor: 'system:tests', data: '{}' }
    const rows = daysOld.map((days, i) => ({
      ...about,
      resource_id: i + 1,
      position: days < 0 ? 0 : i + 1,
      occurred_at: addDays(now, -Math.abs(days)),
    }))
    for (let i = 0; i < rows.length; i += 1_000) {
      const some = rows.slice(i, i + 1_000)
      await database.db.insertInto('events').values(some).execute()
    }
  }

  const keptIds = async () => {
    const rows = await database.db.selectFrom('events').select('resource_id').orderBy('resource_id').execute()
    return rows.map(({ resource_id }) => resource_id)
  }

  it('when events are old, then they are deleted up to the first that is not', async () => {
    await writeEvents([40, 31, 29, 33, 1])
    expect(await deleteEvents(database.db, 30)).toBe(2)
    expect(await keptIds()).toEqual([3, 4, 5])
    expect(await firstPosition(database.db)).toBe(3)
    expect(await deleteEvents(database.db, 30)).toBe(0)
  })

  it('when an old event has no position, then it stays', async () => {
    await writeEvents([-40, 40, -31])
    expect(await deleteEvents(database.db, 30)).toBe(1)
    expect(await keptIds()).toEqual([1, 3])
  })

  it('when very many are old, then all of them are deleted', async () => {
    await writeEvents(Array(1_203).fill(40))
    expect(await deleteEvents(database.db, 30)).toBe(1_203)
    expect(await firstPosition(database.db)).toBeUndefined()
  })
})
