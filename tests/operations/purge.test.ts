import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import { addMinutes, toRfc3339 } from '../../src/platform/core/time.ts'
import { readClock } from '../../src/platform/database/clock.ts'
import { dialectOf } from '../../src/platform/database/dialect.ts'
import type { ListedEvent } from '../../testing/feed.ts'
import { differencesIn, variablesOf } from '../../testing/fixture.ts'
import { runProgram } from '../../testing/programs.ts'
import { newKey, newOrder, newProduct, stockOf } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000 })

const DAY = 24 * 60
const TWO_YEARS = ['--older-than', '730d']

function newFile(): string {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-purge-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return join(folder, 'orders.jsonl')
}

describeEachEngine('npm run purge', (engine) => {
  const system = useSystem(engine)
  const purge = (...args: string[]) => runProgram('purge', variablesOf(system.env), args)

  /** An order that was placed, and confirmed or canceled, so many days ago. */
  async function oldOrder(product_id: number, end: 'confirm' | 'cancel' | 'nothing', days: number, key = newKey()) {
    const { id } = await newOrder(system, [{ product_id, qty: 2 }])
    const headers = { 'idempotency-key': key }
    if (end !== 'nothing') await system.orders.post(`/orders/${id}/${end}`, undefined, { headers })
    const at = addMinutes(await readClock(system.db), -days * DAY)
    const { confirmed_at, canceled_at } = (await system.orders.get(`/orders/${id}`)).body
    const times = { created_at: at, confirmed_at: confirmed_at && at, canceled_at: canceled_at && at }
    await system.db.updateTable('orders').set(times).where('id', '=', id).execute()
    await ageEvents(id, at)
    return id
  }

  /** The events of an order as if it had been placed then. */
  async function ageEvents(orderId: number, at: string) {
    const events = await system.db.selectFrom('events').selectAll().where('resource_type', '=', 'order').execute()
    for (const { id, data } of events.filter(({ resource_id }) => resource_id === orderId)) {
      const { order, ...rest } = JSON.parse(data)
      const aged = JSON.stringify({ order: { ...order, created_at: toRfc3339(at) }, ...rest })
      await system.db.updateTable('events').set({ data: aged }).where('id', '=', id).execute()
    }
  }

  const forgetKeys = () => system.db.deleteFrom('idempotency_keys').execute()
  const typesOf = async (id: number) => {
    const { body } = await system.orders.get(`/events?resource=order:${id}`)
    return body.data.map(({ type }: { type: string }) => type)
  }
  const statusOf = async (id: number) => (await system.orders.get(`/orders/${id}`)).status

  // The demo data's orders are younger than two years.

  it('when old orders are purged, then they are in the file, and the books balance', async () => {
    const { id: product } = await newProduct(system)
    const old = [await oldOrder(product, 'confirm', 800), await oldOrder(product, 'cancel', 800)]
    const kept = [
      await oldOrder(product, 'confirm', 700),
      await oldOrder(product, 'cancel', 700),
      await oldOrder(product, 'nothing', 800),
    ]
    await forgetKeys()
    const before = await Promise.all(old.map(async (id) => (await system.orders.get(`/orders/${id}`)).body))
    const counted = await purge(...TWO_YEARS)
    expect(counted).toMatchObject({ code: 0, stdout: expect.stringMatching(/1 confirmed and 1 canceled orders/) })
    const file = newFile()
    expect(await purge(...TWO_YEARS, '--to', file)).toMatchObject({ code: 1 })
    for (const id of [...old, ...kept]) expect(await statusOf(id)).toBe(200)
    expect(existsSync(file)).toBe(false)

    expect(await purge(...TWO_YEARS, '--to', file, '--yes')).toMatchObject({ code: 0, stderr: '' })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const lines = readFileSync(file, 'utf8').trim().split('\n')
    expect(lines.map((line) => JSON.parse(line))).toEqual(
      before.map((order) => ({
        ...order,
        placed_by: 'client:tests',
        correlation_id: expect.any(String),
        key_hash: null,
      })),
    )
    for (const id of old) expect(await statusOf(id)).toBe(404)
    for (const id of kept) expect(await statusOf(id)).toBe(200)
    for (const id of old) expect(await typesOf(id)).toEqual(['order.placed', expect.any(String)])
    expect(await stockOf(system, product)).toBe(94)
    expect(await differencesIn(system)).toEqual([])

    // The quantities of purged orders share one ledger row, however often a purge runs.
    const next = await oldOrder(product, 'confirm', 800)
    await forgetKeys()
    expect(await purge(...TWO_YEARS, '--to', newFile(), '--yes')).toMatchObject({ code: 0 })
    expect(await statusOf(next)).toBe(404)
    const ledger = await system.db
      .selectFrom('stock_adjustments')
      .select(['delta', 'reason'])
      .where('product_id', '=', product)
      .where('principal', '=', 'purge')
      .execute()
    expect(ledger).toEqual([{ delta: -4, reason: 'archived orders' }])
    expect(await differencesIn(system)).toEqual([])
  })

  it('when orders are purged, then their events stay, without what may be about a person', async () => {
    const { id: product } = await newProduct(system)
    const order = await oldOrder(product, 'confirm', 800)
    expect((await system.orders.patch(`/orders/${order}`, { notes: 'for Zoe' })).status).toBe(200)
    await forgetKeys()
    expect(await purge(...TWO_YEARS, '--to', newFile(), '--yes')).toMatchObject({ code: 0 })
    expect((await system.orders.get(`/orders/${order}/history`)).status).toBe(404)
    const { body } = await system.orders.get(`/events?resource=order:${order}`)
    expect(body.data.map(({ data }: ListedEvent) => [data.order.version, data.order.notes])).toEqual([
      [1, null],
      [2, null],
      [3, null],
    ])
  })

  it('when a key still refers to an old order, then the order and its replay stay', async () => {
    const { id: product } = await newProduct(system)
    const key = newKey()
    const order = await oldOrder(product, 'confirm', 800, key)
    const { code, stdout } = await purge(...TWO_YEARS, '--to', newFile(), '--yes')
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/\n1 stay: a key /) })
    const headers = { 'idempotency-key': key }
    const replay = await system.orders.post(`/orders/${order}/confirm`, undefined, { headers })
    expect([replay.status, replay.headers.get('idempotent-replayed')]).toEqual([200, 'true'])
    expect(await differencesIn(system)).toEqual([])
    await forgetKeys()
    expect(await purge(...TWO_YEARS, '--to', newFile(), '--yes')).toMatchObject({ code: 0 })
  })

  it('when batches are purged amid new orders, then none is lost', async () => {
    const { id: product } = await newProduct(system, { stock: 10_000 })
    const model = await oldOrder(product, 'confirm', 800)
    const {
      id: _,
      live_po: _live,
      ...row
    } = await system.db.selectFrom('orders').selectAll().where('id', '=', model).executeTakeFirstOrThrow()
    const { insertId } = await system.db.insertInto('orders').values(Array(450).fill(row)).executeTakeFirstOrThrow()
    const { idStep, insertedIds } = dialectOf(system.db)
    const { step } = await system.db.selectNoFrom(idStep.as('step')).executeTakeFirstOrThrow()
    const line = { product_id: product, qty: 2, unit_price_cents: 1000, subtotal_cents: 2000 }
    const lines = insertedIds(insertId, 450, step).map((order_id) => ({ ...line, order_id }))
    await system.db.insertInto('order_items').values(lines).execute()
    await system.db
      .updateTable('products')
      .set({ stock: 10_000 - 902 })
      .where('id', '=', product)
      .execute()
    await forgetKeys()
    const file = newFile()
    let purged = false
    const purging = purge(...TWO_YEARS, '--to', file, '--yes').finally(() => {
      purged = true
    })
    let placed = 0
    while (!purged) {
      await newOrder(system, [{ product_id: product, qty: 1 }])
      placed++
    }
    expect(await purging).toMatchObject({ code: 0, stderr: '' })
    expect(readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(451)
    expect(await stockOf(system, product)).toBe(10_000 - 902 - placed)
    expect(await differencesIn(system)).toEqual([])
  })

  it('when the file exists already, then nothing is written or deleted', async () => {
    const { id: product } = await newProduct(system)
    const order = await oldOrder(product, 'cancel', 800)
    await forgetKeys()
    const { code, stderr } = await purge(...TWO_YEARS, '--to', '/dev/null', '--yes')
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining("can't be written") })
    expect(await statusOf(order)).toBe(200)
  })

  it('when orders may still be canceled, then they are not purged', async () => {
    const variables = { ...variablesOf(system.env), CANCEL_WINDOW_MINUTES: String(60 * DAY) }
    const { code, stderr } = await runProgram('purge', variables, ['--older-than', '60d'])
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('CANCEL_WINDOW_MINUTES') })
  })
})

it.each([
  [[], '--older-than is needed, in days: 730d.'],
  [['--older-than', '730'], '--older-than is needed, in days: 730d.'],
  [['--older-than', '29d'], '--older-than must be 30d at least.'],
  [['--older-than', '730d', '--yes'], '--yes needs --to.'],
])('when purge gets %j, then it is refused: %s', async (args, message) => {
  const { code, stderr } = await runProgram('purge', {}, args)
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(message) })
})
