import type { PoolConnection, ResultSetHeader, RowDataPacket } from 'mysql2/promise'
import type { DbTime } from '../../src/platform/core/time.ts'
import type { Line } from '../workloads.ts'
import {
  hashOf,
  holdEnd,
  KEY_COLUMNS,
  keyEnd,
  type PricedLine,
  price,
  productsOf,
  responseAfterId,
  type StockRow,
  takeStock,
} from './order.ts'

/** This system's statements for a single order: one transaction places it, another confirms it. */
export async function orderInTwoTransactions(
  connection: PoolConnection,
  customerId: number,
  lines: readonly Line[],
): Promise<void> {
  const [customers] = await connection.query<RowDataPacket[]>(
    'select id, name, email, phone from customers where id = ? and deleted_at is null',
    [customerId],
  )
  if (customers.length === 0) throw new Error('no customer')
  const id = await inTransaction(connection, () => placeOrder(connection, customerId, lines))
  await inTransaction(connection, () => confirmOrder(connection, id))
}

async function inTransaction<T>(connection: PoolConnection, work: () => Promise<T>): Promise<T> {
  await connection.query('start transaction')
  try {
    const result = await work()
    await connection.query('commit')
    return result
  } catch (error) {
    await connection.query('rollback')
    throw error
  }
}

async function placeOrder(connection: PoolConnection, customerId: number, wanted: readonly Line[]): Promise<number> {
  const key = crypto.randomUUID()
  const now = await readPreamble(connection, 'orders.place', key)
  const [stock] = await connection.query<StockRow[]>(
    'select id, price_cents, stock from products where id in (?) order by id for update',
    [productsOf(wanted)],
  )
  const { lines, totalCents, taken } = price(wanted, stock)
  await connection.query(...takeStock(taken, now))
  const [{ insertId }] = await connection.query<ResultSetHeader>(
    'insert into orders (customer_id, status, total_cents, created_at, expires_at) values (?)',
    [[customerId, 'CREATED', totalCents, now, holdEnd(now)]],
  )
  await connection.query(
    'insert into order_items (order_id, product_id, qty, unit_price_cents, subtotal_cents) values ?',
    [lines.map((line) => [insertId, line.product_id, line.qty, line.unit_price_cents, line.subtotal_cents])],
  )
  const body = `{"id":${insertId}${responseAfterId(customerId, 'CREATED', totalCents, lines, now, null)}`
  await saveKey(connection, ['orders.place', key, hashOf(customerId, wanted), insertId, 201, body], now)
  return insertId
}

async function confirmOrder(connection: PoolConnection, id: number): Promise<void> {
  const key = crypto.randomUUID()
  const now = await readPreamble(connection, 'orders.confirm', key)
  const [[order]] = await connection.query<RowDataPacket[]>('select * from orders where id in (?) for update', [[id]])
  if (order?.status !== 'CREATED') throw new Error('no order to confirm')
  const [lines] = await connection.query<(PricedLine & RowDataPacket)[]>(
    'select product_id, qty, unit_price_cents, subtotal_cents from order_items where order_id in (?) order by order_id, id',
    [[id]],
  )
  await connection.query(
    `update orders set status = 'CONFIRMED', confirmed_at = ?, expires_at = null where id in (?) and status = 'CREATED'`,
    [now, [id]],
  )
  const { customer_id, total_cents, created_at } = order
  const body = `{"id":${id}${responseAfterId(customer_id, 'CONFIRMED', total_cents, lines, created_at, now)}`
  await saveKey(connection, ['orders.confirm', key, hashOf(id), id, 200, body], now)
}

/** @returns the database's clock @throws Error when the key was used */
async function readPreamble(connection: PoolConnection, operation: string, key: string): Promise<DbTime> {
  const [[preamble]] = await connection.query<RowDataPacket[]>(
    `select clock.now, k.request_hash, k.status, k.response_body from (select utc_timestamp(3) as now) as clock
     left join idempotency_keys as k on k.operation = ? and k.key in (?)`,
    [operation, [key]],
  )
  if (preamble === undefined || preamble.request_hash !== null) throw new Error('the key was used before')
  return preamble.now
}

type Key = [operation: string, key: string, hash: string, target: number, status: number, body: string]

async function saveKey(connection: PoolConnection, key: Key, now: DbTime): Promise<void> {
  const [operation, name, hash, target, status, body] = key
  await connection.query(`insert into idempotency_keys (${KEY_COLUMNS}) values (?)`, [
    [operation, name, 'bare', hash, 'order', target, status, body, now, keyEnd(now)],
  ])
}
