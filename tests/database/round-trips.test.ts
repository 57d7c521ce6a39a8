import { Connection } from 'mysql2'
import { beforeEach, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { unsafeCast } from '../../src/platform/core/unsafe-cast.ts'
import { atOnce, endHold, newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { useSystem } from '../../testing/system.ts'

/** `begin` with the reads and locks, the writes whose results are needed, and all other writes with `commit`. */
const ROUND_TRIPS = 3

describe.skipIf(inject('mysql') === null)('the round trips of a batch', () => {
  const system = useSystem('mysql')

  beforeEach(async () => {
    // So that no new connection asks what server it is connected to.
    await atOnce(8, () => system.orders.get('/orders/1'))
  })

  /** The packets of each transaction that commits during some work. */
  async function transactionsOf(work: () => Promise<unknown>): Promise<string[][]> {
    const sent = vi.spyOn(Connection.prototype, 'query')
    onTestFinished(() => sent.mockRestore())
    await work()
    const open = new Map<unknown, string[]>()
    const committed: string[][] = []
    for (const [i, [query]] of sent.mock.calls.entries()) {
      const [connection, { sql }] = [sent.mock.contexts[i], unsafeCast<{ sql: string }>(query)]
      const packets = /^begin\b/.test(sql) ? [] : open.get(connection)
      packets?.push(sql)
      const isCommitted = /\bcommit$/.test(sql)
      if (packets && isCommitted) committed.push(packets)
      if (packets && !isCommitted) open.set(connection, packets)
      else open.delete(connection)
    }
    return committed
  }

  /** @param inserts how many statements of each transaction write events */
  function expectRoundTrips(transactions: string[][], inserts: number): void {
    expect(transactions.length).toBeGreaterThan(0)
    for (const packets of transactions) expect(packets.length, packets.join('\n\n')).toBe(ROUND_TRIPS)
    const written = transactions.map((packets) => packets.join(';').match(/insert into `?events`? /g)?.length)
    expect(written).toEqual(transactions.map(() => inserts))
  }

  const place = (product_id: number, qty = 1) => newOrder(system, [{ product_id, qty }])
  const confirm = (id: number) =>
    system.orders.post(`/orders/${id}/confirm`, undefined, { headers: { 'idempotency-key': newKey() } })
  const cancel = (id: number) => system.orders.post(`/orders/${id}/cancel`)

  it('when orders are placed, then three, with their events', async () => {
    const { id } = await newProduct(system)
    expectRoundTrips(await transactionsOf(() => atOnce(20, () => place(id))), 1)
  })

  it('when orders make a product low and run it out, then three', async () => {
    const { id } = await newProduct(system, { stock: 2, stock_low_at: 1 })
    expectRoundTrips(await transactionsOf(() => place(id, 2)), 2)
  })

  it('when orders are confirmed, then three, with their events', async () => {
    const { id } = await newProduct(system)
    const orders = await atOnce(20, () => place(id))
    expectRoundTrips(await transactionsOf(() => atOnce(20, (i) => confirm(orders[i]?.id ?? 0))), 1)
  })

  it('when canceled orders bring a product back, then three', async () => {
    const { id } = await newProduct(system, { stock: 1 })
    const order = await place(id)
    expectRoundTrips(await transactionsOf(() => cancel(order.id)), 2)
  })

  it('when a hold is released, then three', async () => {
    const { id } = await newProduct(system)
    const order = await place(id)
    await endHold(system, order.id)
    expectRoundTrips(await transactionsOf(() => system.sweeps.releaseExpiredHolds()), 2)
  })
})
