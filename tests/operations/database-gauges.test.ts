import { sql } from 'kysely'
import { expect, it } from 'vitest'
import { auditBooks, recordAudit } from '../../src/audit/service.ts'
import { DATABASE_GAUGES } from '../../src/compose/modules.ts'
import { readClock } from '../../src/platform/database/clock.ts'
import { readGauges } from '../../src/platform/database/gauges.ts'
import { LOOPBACK } from '../../testing/deployment.ts'
import { newOrder, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

const MINUTE = 60
const HOUR = 60 * MINUTE

describeEachEngine('the gauges of the database', (engine) => {
  // No jobs run here: what waits goes on waiting.
  const system = useSystem(engine, LOOPBACK)

  /** The values by the names of their series; those of a series with a label by that label too. */
  async function gauges(): Promise<Record<string, number>> {
    const read = await readGauges(system.db, DATABASE_GAUGES)
    const entries = DATABASE_GAUGES.flatMap((gauge) =>
      (read.get(gauge) ?? []).map(({ labels, value }) => [[gauge.series.name, ...labels].join(' '), value] as const),
    )
    return Object.fromEntries(entries)
  }

  const secondsAgo = async (seconds: number) => {
    const now = await readClock(system.db)
    return new Date(Date.parse(`${now.replace(' ', 'T')}Z`) - seconds * 1_000)
      .toISOString()
      .slice(0, 23)
      .replace('T', ' ')
  }

  it('when products run out, are inactive or come back, then those that could be ordered are counted', async () => {
    const before = (await gauges()).b2b_products_out_of_stock ?? Number.NaN
    const product = await newProduct(system, { stock: 2 })
    const empty = await newProduct(system, { stock: 0 })
    await newProduct(system, { stock: 0, active: false })
    expect((await gauges()).b2b_products_out_of_stock).toBe(before + 1)
    await newOrder(system, [{ product_id: product.id, qty: 2 }])
    expect((await gauges()).b2b_products_out_of_stock).toBe(before + 2)
    await system.orders.post(`/products/${empty.id}/stock-adjustments`, { delta: 1, reason: 'delivery' })
    expect((await gauges()).b2b_products_out_of_stock).toBe(before + 1)
  })

  it('when orders are not confirmed, then they are open, and overdue once their time has passed', async () => {
    const before = await gauges()
    expect(before.b2b_holds_overdue_age_seconds).toBe(0)
    const { id: product_id } = await newProduct(system)
    const orders = [await newOrder(system, [{ product_id, qty: 1 }]), await newOrder(system, [{ product_id, qty: 1 }])]
    expect((await gauges()).b2b_holds_open).toBe((before.b2b_holds_open ?? 0) + 2)
    await sql`update orders set expires_at = ${await secondsAgo(HOUR)} where id = ${orders[0]?.id}`.execute(system.db)
    expect((await gauges()).b2b_holds_overdue_age_seconds).toBeCloseTo(HOUR, -1)
    await system.sweep()
    const { b2b_holds_open, b2b_holds_overdue_age_seconds } = await gauges()
    expect([b2b_holds_open, b2b_holds_overdue_age_seconds]).toEqual([(before.b2b_holds_open ?? 0) + 1, 0])
  })

  it('when events have no position, then the age is that of the oldest', async () => {
    await system.sweep()
    expect((await gauges()).b2b_events_unnumbered_age_seconds).toBe(0)
    await newProduct(system)
    await newProduct(system)
    const oldest = sql`select min(id) from (select id from events where position = 0) as waiting`
    await sql`update events set occurred_at = ${await secondsAgo(HOUR)} where id = (${oldest})`.execute(system.db)
    expect((await gauges()).b2b_events_unnumbered_age_seconds).toBeCloseTo(HOUR, -1)
    await system.sweep()
    expect((await gauges()).b2b_events_unnumbered_age_seconds).toBe(0)
  })

  it('when an enabled endpoint lacks events, then the age is that of the oldest, delivered or not', async () => {
    await system.sweep()
    const fields = { url: 'http://127.0.0.1:9/', event_types: ['product.*'] }
    const { body: endpoint } = await system.orders.post('/webhook-endpoints', fields)
    const { body: other } = await system.orders.post('/webhook-endpoints', fields)
    await system.orders.patch(`/webhook-endpoints/${other.id}`, { status: 'disabled' })
    const { 'b2b_webhook_endpoints disabled': disabled } = await gauges()
    const age = async () => (await gauges()).b2b_webhook_pending_age_seconds
    expect(await age()).toBe(0)
    await newProduct(system)
    await system.sweep()
    // No delivery was made of it: no dispatcher runs.
    const newest = sql`select max(position) from (select position from events) as numbered`
    await sql`update events set occurred_at = ${await secondsAgo(HOUR)} where position = (${newest})`.execute(system.db)
    expect(await age()).toBeCloseTo(HOUR, -1)
    // The receiver is away: the delivery is made, and waits for its next attempt.
    await system.dispatch()
    expect(await age()).toBeLessThan(MINUTE)
    await sql`update webhook_deliveries set created_at = ${await secondsAgo(2 * HOUR)}`.execute(system.db)
    expect(await age()).toBeCloseTo(2 * HOUR, -1)
    expect(await gauges()).toMatchObject({
      'b2b_webhook_endpoints enabled': 1,
      'b2b_webhook_endpoints disabled': disabled,
    })
    await system.orders.delete(`/webhook-endpoints/${endpoint.id}`)
    expect(await age()).toBe(0)
    expect(await gauges()).toMatchObject({
      'b2b_webhook_endpoints enabled': 0,
      'b2b_webhook_endpoints disabled': disabled,
    })
  })

  it('when an audit is recorded, then its result and time replace those of the one before', async () => {
    expect(await gauges()).not.toHaveProperty('b2b_books_balanced')
    expect(await gauges()).not.toHaveProperty('b2b_books_checked_timestamp_seconds')
    await system.sweep()
    const record = async () => recordAudit(system.db, await auditBooks(system.db, system.env.orders))
    await record()
    const { b2b_books_checked_timestamp_seconds: checked = 0, ...first } = await gauges()
    expect(first.b2b_books_balanced).toBe(1)
    const { id } = await newProduct(system)
    await sql`update products set stock = stock + 1 where id = ${id}`.execute(system.db)
    await record()
    const second = await gauges()
    expect(second.b2b_books_balanced).toBe(0)
    expect(second.b2b_books_checked_timestamp_seconds).toBeGreaterThan(checked)
    expect(Math.abs(checked - Date.now() / 1_000)).toBeLessThan(MINUTE)
    const row = await system.db.selectFrom('last_audit').selectAll().executeTakeFirstOrThrow()
    expect(row).toMatchObject({ id: 1, differences: 1 })
  })
})
