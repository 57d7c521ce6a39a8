import type { PoolConnection, RowDataPacket } from 'mysql2/promise'
import type { DbTime } from '../../src/platform/core/time.ts'
import type { Line } from '../workloads.ts'
import { hashOf, KEY_COLUMNS, keyEnd, price, productsOf, responseAfterId, type StockRow, takeStock } from './order.ts'

interface Wanted {
  customerId: number
  lines: readonly Line[]
  keys: { place: string; confirm: string }
}

interface Seen {
  now: DbTime
  stock: StockRow[]
}

/**
 * The same rows in one transaction with two round trips: all reads, then all writes. The order is confirmed when it is
 * placed, so nothing is updated.
 */
export async function orderInOneTransaction(
  connection: PoolConnection,
  customerId: number,
  lines: readonly Line[],
): Promise<void> {
  const wanted = { customerId, lines, keys: { place: crypto.randomUUID(), confirm: crypto.randomUUID() } }
  try {
    await write(connection, wanted, await read(connection, wanted))
  } catch (error) {
    await connection.query('rollback')
    throw error
  }
}

async function read(connection: PoolConnection, { customerId, lines, keys }: Wanted): Promise<Seen> {
  const [[, customers, preambles, stock]] = await connection.query<
    [RowDataPacket[], RowDataPacket[], RowDataPacket[], StockRow[]]
  >(
    `start transaction;
     select id, name, email, phone from customers where id = ? and deleted_at is null;
     select clock.now, k.request_hash, k.response_body from (select utc_timestamp(3) as now) as clock
       left join idempotency_keys as k on k.operation in ('orders.place', 'orders.confirm') and k.key in (?);
     select id, price_cents, stock from products where id in (?) order by id for update`,
    [customerId, Object.values(keys), productsOf(lines)],
  )
  const [preamble] = preambles
  if (customers.length === 0) throw new Error('no customer')
  if (preamble === undefined || preamble.request_hash !== null) throw new Error('a key was used before')
  return { now: preamble.now, stock }
}

async function write(connection: PoolConnection, wanted: Wanted, { now, stock }: Seen): Promise<void> {
  const { customerId, keys } = wanted
  const { lines, totalCents, taken } = price(wanted.lines, stock)
  const [take, taking] = takeStock(taken, now)
  const created = responseAfterId(customerId, 'CREATED', totalCents, lines, now, null)
  const confirmed = responseAfterId(customerId, 'CONFIRMED', totalCents, lines, now, now)
  const hash = hashOf(customerId, wanted.lines)
  await connection.query(
    `${take};
     insert into orders (customer_id, status, total_cents, created_at, confirmed_at) values (?);
     set @id = last_insert_id();
     insert into order_items (order_id, product_id, qty, unit_price_cents, subtotal_cents)
       values ${lines.map(() => '(@id, ?)').join(', ')};
     insert into idempotency_keys (${KEY_COLUMNS}) values
       ('orders.place', ?, 'bare', ?, 'order', @id, 201, concat('{"id":', @id, ?), ?),
       ('orders.confirm', ?, 'bare', sha2(@id, 256), 'order', @id, 200, concat('{"id":', @id, ?), ?);
     commit`,
    [
      ...taking,
      [customerId, 'CONFIRMED', totalCents, now, now],
      ...lines.map((line) => [line.product_id, line.qty, line.unit_price_cents, line.subtotal_cents]),
      ...[keys.place, hash, created, [now, keyEnd(now)]],
      ...[keys.confirm, confirmed, [now, keyEnd(now)]],
    ],
  )
}
