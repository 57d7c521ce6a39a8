import { type RawBuilder, type Selectable, sql } from 'kysely'
import type { Database } from '../platform/database.ts'
import { dialectOf } from '../platform/dialect.ts'
import { later, together } from '../platform/grouping.ts'
import { insertOf, portions } from '../platform/inserting.ts'
import type { OrderStatus, Tables } from '../platform/tables.ts'
import type { DbTime } from '../platform/time.ts'

export type OrderRow = Selectable<Tables['orders']>

export interface OrderLine {
  product_id: number
  qty: number
  unit_price_cents: number
  subtotal_cents: number
}

export type OrderLines = ReadonlyMap<number, OrderLine[]>

const ORDER_COLUMNS = [
  'customer_id',
  'status',
  'total_cents',
  'created_at',
  'confirmed_at',
  'canceled_at',
  'expires_at',
] as const
const LINE_COLUMNS = ['order_id', 'product_id', 'qty', 'unit_price_cents', 'subtotal_cents'] as const

/** Writes new orders, and their lines with the transaction's next statement. @returns their ids, in the order given */
export async function insertOrders(
  trx: Database,
  orders: readonly (Omit<OrderRow, 'id'> & { lines: readonly OrderLine[] })[],
  idStep: number,
): Promise<number[]> {
  const dialect = dialectOf(trx)
  const ids: number[] = []
  for (const some of portions(orders, dialect.rowsPerInsert(ORDER_COLUMNS.length))) {
    const { insertId } = await trx.executeQuery(insertOf('orders', ORDER_COLUMNS, some))
    ids.push(...dialect.insertedIds(insertId, some.length, idStep))
  }
  const lines = orders.flatMap((order, i) => order.lines.map((line) => ({ ...line, order_id: ids[i] ?? 0 })))
  for (const some of portions(lines, dialect.rowsPerInsert(LINE_COLUMNS.length))) {
    await later(trx, insertOf('order_items', LINE_COLUMNS, some))
  }
  return ids
}

export interface Orders {
  orders: Map<number, OrderRow>
  lines: OrderLines
}

/** These orders, by id, and their lines. */
export function findOrders(db: Database, ids: readonly number[]): Promise<Orders> {
  return readOrders(db, ids, sql``)
}

/** Like {@link findOrders}, and nobody else may change them until the transaction ends. Locked in the order of their ids. */
export async function lockOrders(trx: Database, ids: readonly number[]): Promise<Orders> {
  if (ids.length === 0) return { orders: new Map(), lines: new Map() }
  return readOrders(trx, ids, dialectOf(trx).forUpdate)
}

async function readOrders(db: Database, ids: readonly number[], locking: RawBuilder<unknown>): Promise<Orders> {
  const sorted = [...ids].sort((a, b) => a - b)
  const reading = db.selectFrom('orders').selectAll().where('id', 'in', sorted).orderBy('id').modifyEnd(locking)
  const [orders, lines] = await together(db, reading.compile(), linesOf(db, sorted).compile())
  return { orders: new Map(orders.map((row) => [row.id, row])), lines: byOrder(sorted, lines) }
}

/** The lines of these orders, in the order they were placed in. */
function linesOf(db: Database, orderIds: readonly number[]) {
  return db
    .selectFrom('order_items')
    .select(['order_id', 'product_id', 'qty', 'unit_price_cents', 'subtotal_cents'])
    .where('order_id', 'in', orderIds)
    .orderBy('order_id')
    .orderBy('id')
}

function byOrder(orderIds: readonly number[], rows: readonly (OrderLine & { order_id: number })[]): OrderLines {
  const lines = new Map<number, OrderLine[]>(orderIds.map((id) => [id, []]))
  for (const { order_id, ...line } of rows) lines.get(order_id)?.push(line)
  return lines
}

const MOVES = {
  CONFIRMED: (now: DbTime) => ({ status: 'CONFIRMED', confirmed_at: now, expires_at: null }) as const,
  CANCELED: (now: DbTime) => ({ status: 'CANCELED', canceled_at: now }) as const,
}

/**
 * The one way an order changes state: `from` → `to`, for many orders at once, only where they are in `from` now.
 * Confirm, cancel and expiry all pass here, so exactly one of them wins.
 * @returns how many orders moved
 */
export async function moveOrders(
  db: Database,
  ids: readonly number[],
  from: readonly OrderStatus[],
  to: keyof typeof MOVES,
  now: DbTime,
): Promise<number> {
  if (ids.length === 0) return 0
  const { numUpdatedRows } = await db
    .updateTable('orders')
    .set(MOVES[to](now))
    .where('id', 'in', ids)
    .where('status', 'in', from)
    .executeTakeFirst()
  return Number(numUpdatedRows)
}

/** Orders whose hold has ended and that nobody confirmed, the longest ended first. */
export async function findExpiredHolds(db: Database, limit: number): Promise<number[]> {
  const rows = await ordersByIndex(db, 'orders_holds')
    .select('id')
    .where('status', '=', 'CREATED')
    .where('expires_at', '<=', dialectOf(db).now)
    .orderBy('expires_at')
    .limit(limit)
    .execute()
  return rows.map((row) => row.id)
}

export interface OrderFilter {
  status?: OrderStatus | undefined
  /** All of these must be the order's customer. */
  customerIds: readonly number[]
  from?: DbTime | undefined
  to?: DbTime | undefined
  after?: { createdAt: DbTime; id: number } | undefined
  limit: number
}

/** Newest first. Every combination of filters has an index that yields the rows in this order, and only those. */
export function listOrders(db: Database, filter: OrderFilter): Promise<OrderRow[]> {
  const { status, customerIds, from, to } = filter
  // Of two upper bounds SQLite seeks by the first and steps down to the second: only the lower one is told.
  const after = filter.after && (to === undefined || filter.after.createdAt < to) ? filter.after : undefined
  const [ofStatus, ofCustomer] = [status === undefined ? '' : 'status_', customerIds.length === 0 ? '' : 'customer_']
  let query = ordersByIndex(db, `orders_${ofCustomer}${ofStatus}created`)
    .selectAll()
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (status !== undefined) query = query.where('status', '=', status)
  for (const customerId of customerIds) query = query.where('customer_id', '=', customerId)
  if (from !== undefined) query = query.where('created_at', '>=', from)
  if (after !== undefined) {
    query = query.where(dialectOf(db).past(['created_at', 'id'], '<', [after.createdAt, after.id]))
  } else if (to !== undefined) query = query.where('created_at', '<', to)
  return query.execute()
}

function ordersByIndex(db: Database, index: string) {
  return db.selectFrom(sql<OrderRow>`orders`.as<'o'>(sql`o ${dialectOf(db).byIndex(index)}`))
}
