import type { Pool, PoolConnection, ResultSetHeader, RowDataPacket } from 'mysql2/promise'
import type { DbTime } from '../../src/platform/core/time.ts'
import type { Line } from '../workloads.ts'
import { hashOf, KEY_COLUMNS, keyEnd, price, responseAfterId, type StockRow, takeStock } from './order.ts'

const MAX_IN_A_BATCH = 64

interface Wanted {
  customerId: number
  lines: readonly Line[]
  key: string
  done: () => void
  failed: (error: unknown) => void
}

/**
 * The limit for batched orders: up to 64 in one transaction with three round trips, one transaction after another. Each
 * order is confirmed when it is placed, and has one key.
 */
export function createBatches(pool: Pool): (customerId: number, lines: readonly Line[]) => Promise<void> {
  const queue: Wanted[] = []
  let running = false

  async function drain(): Promise<void> {
    running = true
    while (queue.length > 0) {
      const batch = queue.splice(0, MAX_IN_A_BATCH)
      const connection = await pool.getConnection()
      await orderAll(connection, batch).then(
        () => batch.forEach(({ done }) => void done()),
        (error) => batch.forEach(({ failed }) => void failed(error)),
      )
      connection.release()
    }
    running = false
  }

  return (customerId, lines) =>
    new Promise((done, failed) => {
      queue.push({ customerId, lines, key: crypto.randomUUID(), done, failed })
      if (!running) setImmediate(() => running || drain())
    })
}

async function orderAll(connection: PoolConnection, batch: readonly Wanted[]): Promise<void> {
  try {
    const { now, stock } = await read(connection, batch)
    const left = new Map(stock.map((row) => [row.id, row]))
    const orders = batch.map((wanted) => priceAndTake(wanted, left))
    const taken = stock.map(({ id, stock }): [number, number] => [id, stock - (left.get(id)?.stock ?? 0)])
    await write(connection, orders, taken, now)
  } catch (error) {
    await connection.query('rollback')
    throw error
  }
}

async function read(connection: PoolConnection, batch: readonly Wanted[]): Promise<{ now: DbTime; stock: StockRow[] }> {
  const products = [...new Set(batch.flatMap(({ lines }) => lines.map((line) => line.product_id)))]
  const [[, customers, preambles, stock]] = await connection.query<
    [RowDataPacket[], RowDataPacket[], RowDataPacket[], StockRow[]]
  >(
    `start transaction;
     select id from customers where id in (?) and deleted_at is null;
     select clock.now, k.request_hash, k.response_body from (select utc_timestamp(3) as now) as clock
       left join idempotency_keys as k on k.operation = 'orders.place' and k.key in (?);
     select id, price_cents, stock from products where id in (?) order by id for update`,
    [
      [...new Set(batch.map(({ customerId }) => customerId))],
      batch.map(({ key }) => key),
      products.sort((a, b) => a - b),
    ],
  )
  const [preamble] = preambles
  if (customers.length === 0) throw new Error('no customer')
  if (preamble === undefined || preamble.request_hash !== null) throw new Error('a key was used before')
  return { now: preamble.now, stock }
}

function priceAndTake(wanted: Wanted, left: Map<number, StockRow>) {
  const priced = price(
    wanted.lines,
    wanted.lines.flatMap(({ product_id }) => left.get(product_id) ?? []),
  )
  for (const [id, pieces] of priced.taken) {
    const row = left.get(id)
    if (row) left.set(id, { ...row, stock: row.stock - pieces })
  }
  return { ...wanted, ...priced }
}

type PricedOrder = ReturnType<typeof priceAndTake>

async function write(
  connection: PoolConnection,
  orders: readonly PricedOrder[],
  taken: [number, number][],
  now: DbTime,
): Promise<void> {
  const [take, taking] = takeStock(taken, now)
  const rows = orders.map(({ customerId, totalCents }) => [customerId, 'CONFIRMED', totalCents, now, now])
  const [[, { insertId }]] = await connection.query<[ResultSetHeader, ResultSetHeader]>(
    `${take}; insert into orders (customer_id, status, total_cents, created_at, confirmed_at) values ?`,
    [...taking, rows],
  )
  const lines = orders.flatMap((order, i) =>
    order.lines.map((line) => [insertId + i, line.product_id, line.qty, line.unit_price_cents, line.subtotal_cents]),
  )
  const keys = orders.map((order, i) => keyOf(order, insertId + i, now))
  await connection.query(
    `insert into order_items (order_id, product_id, qty, unit_price_cents, subtotal_cents) values ?;
     insert into idempotency_keys (${KEY_COLUMNS}) values ?;
     commit`,
    [lines, keys],
  )
}

function keyOf({ customerId, lines, totalCents, key }: PricedOrder, id: number, now: DbTime): unknown[] {
  const body = `{"id":${id}${responseAfterId(customerId, 'CONFIRMED', totalCents, lines, now, now)}`
  return ['orders.place', key, 'bare', hashOf(customerId, lines), 'order', id, 201, body, now, keyEnd(now)]
}
