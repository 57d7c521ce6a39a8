import { CompiledQuery, type RawBuilder, type Selectable, type SqlBool, sql } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'
import { bulkInsert, chunks } from '../platform/database/bulk-insert.ts'
import { compileOnce } from '../platform/database/compiled-query.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import { isDuplicate } from '../platform/database/errors.ts'
import { enqueueWrite, pipeline, runPipeline } from '../platform/database/pipeline.ts'
import { findLockedRows } from '../platform/database/row-locks.ts'
import type { Tables } from '../platform/database/tables.ts'
import { RestartTransaction } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import type { OrderStatus } from './tables.ts'

type StoredOrder = Selectable<Tables['orders']>

/** The origin of an order: who placed it, in which request and with which key. */
export type OrderOrigin = Pick<StoredOrder, 'placed_by' | 'correlation_id' | 'key_hash'>

const ORDER_COLUMNS = [
  'customer_id',
  'status',
  'total_cents',
  'created_at',
  'confirmed_at',
  'canceled_at',
  'expires_at',
  'placed_by',
] as const
/** Few orders have these: a batch whose orders have none does not name them. */
const DETAIL_COLUMNS = ['po_number', 'requested_delivery_date', 'ship_to', 'notes', 'metadata', 'currency'] as const
const PO_COLUMNS = ['po_key', 'po_slot'] as const
const ORIGIN_COLUMNS = ['correlation_id', 'key_hash'] as const
const READ_COLUMNS = ['id', ...ORDER_COLUMNS, ...DETAIL_COLUMNS, 'version'] as const
const INSERTED_COLUMNS = [...ORDER_COLUMNS, ...ORIGIN_COLUMNS] as const
const INSERTED_DETAIL_COLUMNS = [...DETAIL_COLUMNS, ...PO_COLUMNS] as const
const LINE_COLUMNS = ['order_id', 'product_id', 'qty', 'unit_price_cents', 'subtotal_cents', 'sku', 'name'] as const

/** An order as callers see it. */
export type OrderRow = Pick<StoredOrder, (typeof READ_COLUMNS)[number]>
export type DetailColumns = Pick<StoredOrder, (typeof DETAIL_COLUMNS)[number]>
export type NewOrderRow = OrderRow &
  Pick<StoredOrder, (typeof INSERTED_COLUMNS | typeof INSERTED_DETAIL_COLUMNS)[number]>

export interface OrderLine {
  product_id: number
  qty: number
  unit_price_cents: number
  subtotal_cents: number
  /** Of the product when the order was placed. Null where an earlier version placed it. */
  sku: string | null
  name: string | null
}

export type OrderLines = ReadonlyMap<number, OrderLine[]>

/** Writes the lines of new orders. They are sent with the transaction's next statement. */
export async function insertLines(trx: Database, lines: readonly OwnedLine[]): Promise<void> {
  for (const chunk of chunks(lines, dialectOf(trx).rowsPerInsert(LINE_COLUMNS.length))) {
    await enqueueWrite(trx, bulkInsert('order_items', LINE_COLUMNS, chunk))
  }
}

export interface Orders {
  orders: Map<number, OrderRow>
  lines: OrderLines
}

/** Orders by id, with their lines. */
export async function findOrders(db: Database, ids: readonly number[]): Promise<Orders> {
  if (ids.length === 0) return ordersOf(ids, [], [])
  const sorted = sortIds(ids)
  const query = compileOnce(db, `orders ${sorted.length}`, sorted, () => selectOrders(db, sorted))
  const [rows, lines] = await pipeline(db, query, linesQuery(db, ids))
  return ordersOf(ids, rows, lines)
}

/** Reads orders and locks them until the transaction ends, by ascending ids. */
export function lockOrdersQuery(trx: Database, ids: readonly number[]): CompiledQuery<OrderRow> | undefined {
  if (ids.length === 0) return undefined
  const sorted = sortIds(ids)
  return compileOnce(trx, `orders for update ${sorted.length}`, sorted, () =>
    selectOrders(trx, sorted).modifyEnd(dialectOf(trx).forUpdate),
  )
}

/** Runs {@link lockOrdersQuery} now. */
export function lockOrders(trx: Database, ids: readonly number[]): Promise<OrderRow[]> {
  return selectOrders(trx, sortIds(ids)).modifyEnd(dialectOf(trx).forUpdate).execute()
}

function selectOrders(db: Database, sortedIds: readonly number[]) {
  return db.selectFrom('orders').select(READ_COLUMNS).where('id', 'in', sortedIds).orderBy('id')
}

function sortIds(ids: readonly number[]): number[] {
  return [...ids].sort((a, b) => a - b)
}

type OwnedLine = OrderLine & { order_id: number }

/** The lines of orders, in the order in which they were written. */
export function linesQuery(db: Database, orderIds: readonly number[]): CompiledQuery<OwnedLine> | undefined {
  if (orderIds.length === 0) return undefined
  return compileOnce(db, `order lines ${orderIds.length}`, orderIds, () =>
    db
      .selectFrom('order_items')
      .select(LINE_COLUMNS)
      .where('order_id', 'in', orderIds)
      .orderBy('order_id')
      .orderBy('id'),
  )
}

/** The lines of orders, by order. */
export async function findLines(db: Database, orders: readonly { id: number }[]): Promise<OrderLines> {
  const ids = orders.map(({ id }) => id)
  const [rows] = await pipeline(db, linesQuery(db, ids))
  return byOrder(ids, rows)
}

export function ordersOf(ids: readonly number[], rows: readonly OrderRow[], lines: readonly OwnedLine[]): Orders {
  return { orders: new Map(rows.map((row) => [row.id, row])), lines: byOrder(ids, lines) }
}

function byOrder(orderIds: readonly number[], rows: readonly OwnedLine[]): OrderLines {
  const lines = new Map<number, OrderLine[]>(orderIds.map((id) => [id, []]))
  for (const { order_id, ...line } of rows) lines.get(order_id)?.push(line)
  return lines
}

/** The unique index on the PO numbers of live orders, as each engine's errors name it. */
const PO_INDEX = { index: 'orders_live_po', column: 'orders.live_po' }

/**
 * Writes new orders.
 * @returns their ids, in the same order
 * @throws RestartTransaction when another transaction gave one of the PO numbers to an order of its own meanwhile
 */
export async function insertOrders(
  trx: Database,
  orders: readonly Omit<NewOrderRow, 'id'>[],
  idStep: number,
): Promise<number[]> {
  if (orders.length === 0) return []
  const hasDetails = orders.some((order) => DETAIL_COLUMNS.some((column) => order[column] !== null))
  const columns = hasDetails ? [...INSERTED_COLUMNS, ...INSERTED_DETAIL_COLUMNS] : INSERTED_COLUMNS
  const { insertId } = await trx.executeQuery(bulkInsert('orders', columns, orders)).catch((error) => {
    throw isDuplicate(error, PO_INDEX) ? new RestartTransaction() : error
  })
  return dialectOf(trx).insertedIds(insertId, orders.length, idStep)
}

/** A PO number of a customer, as it is compared. */
export interface PoNumber {
  customerId: number
  poKey: string
}

interface PoHolder extends PoNumber, Pick<OrderRow, 'id' | 'status' | 'expires_at'> {}

/**
 * The live order that has each of these PO numbers. Where several have one, because the customer's policy was `free`, it
 * is one of them.
 */
export function poHoldersQuery(
  db: Database,
  poNumbers: readonly PoNumber[],
  which: Holders = 'all',
): CompiledQuery<PoHolder> | undefined {
  if (poNumbers.length === 0) return undefined
  const values = poNumbers.flatMap(({ customerId, poKey }) => [customerId, poKey])
  return compileOnce(db, `PO numbers ${which} ${poNumbers.length}`, values, () => ({
    compile: () => CompiledQuery.raw(poNumbers.map(() => holderOfOne(db, which)).join(' union all '), values),
  }))
}

/** Whether unconfirmed orders whose hold has ended count. */
type Holders = 'all' | 'unended'

/** One seek for each number: of a number that many orders have, none after the first one that counts is read. */
function holderOfOne(db: Database, which: Holders): string {
  const { forceIndex, now } = dialectOf(db)
  const { sql: byIndex } = sql`${forceIndex('orders_live_po')}`.compile(db)
  const { sql: isUnended } = sql`not (status = 'CREATED' and expires_at <= ${now})`.compile(db)
  const filter = which === 'unended' ? `and ${isUnended}` : ''
  return `select * from (
    select id, customer_id as customerId, live_po as poKey, status, expires_at from orders o ${byIndex}
    where customer_id = ? and live_po = ? ${filter} order by po_slot limit 1) as found`
}

/** The PO numbers whose orders other transactions have locked or are writing. */
export function findLockedPoNumbers(trx: Database, poNumbers: readonly PoNumber[]): Promise<PoNumber[]> {
  const { forceIndex, forUpdateNoWait } = dialectOf(trx)
  return findLockedRows(poNumbers, async (some) => {
    for (const { customerId, poKey } of some) {
      await sql`
        select id from ${sql.table('orders')} o ${forceIndex('orders_live_po')}
        where customer_id = ${customerId} and live_po = ${poKey} and po_slot = 0 ${forUpdateNoWait}`.execute(trx)
    }
  })
}

/** The details that may be about a person. */
const PERSONAL_COLUMNS = ['ship_to', 'notes', 'metadata'] as const

/** The orders of a customer, oldest first. */
export function findOrdersOf(
  db: Database,
  customerId: number,
  after: Pick<OrderRow, 'id' | 'created_at'> | undefined,
  limit: number,
): Promise<Pick<OrderRow, 'id' | 'created_at'>[]> {
  return ordersByIndex(db, 'orders_customer_created')
    .select(['id', 'created_at'])
    .where('customer_id', '=', customerId)
    .$if(after !== undefined, (query) =>
      query.where(dialectOf(db).keysetAfter(['created_at', 'id'], '>', [after?.created_at ?? '', after?.id ?? 0])),
    )
    .orderBy('created_at')
    .orderBy('id')
    .limit(limit)
    .execute()
}

/** Orders by ascending ids. */
export function findOrdersAfter(
  db: Database,
  id: number,
  limit: number,
): Promise<Pick<OrderRow, 'id' | 'created_at' | 'version'>[]> {
  return db
    .selectFrom('orders')
    .select(['id', 'created_at', 'version'])
    .where('id', '>', id)
    .orderBy('id')
    .limit(limit)
    .execute()
}

/** Whether an order has details that may be about a person. */
export function hasPersonalDetails(order: OrderRow): boolean {
  return PERSONAL_COLUMNS.some((column) => order[column] !== null)
}

/** Erases those details of orders that the transaction has locked, and counts their versions up. */
export async function erasePersonalDetails(trx: Database, ids: readonly number[]): Promise<void> {
  await trx
    .updateTable('orders')
    .set({ ship_to: null, notes: null, metadata: null, version: sql<number>`version + 1` })
    .where('id', 'in', ids)
    .execute()
}

/**
 * Whether a stored response is an order of the customer with such details. The members of its JSON have a fixed order,
 * see `presentOrder`; quotes inside its texts are escaped, so no text can look like members.
 */
export function storedDetailsOf(customerId: number): RawBuilder<SqlBool> {
  const ofCustomer = `{"id":%,"customer_id":${customerId},"status":%`
  const none = '%"ship_to":null,"notes":null,"metadata":null,%'
  return sql`response_body like ${ofCustomer} and response_body like '%"ship_to":%' and response_body not like ${none}`
}

/** Replaces the details of an order that the transaction has locked, and counts its version up. */
export async function updateDetails(trx: Database, id: number, details: Partial<DetailColumns>): Promise<void> {
  await trx
    .updateTable('orders')
    .set({ ...details, version: sql<number>`version + 1` })
    .where('id', '=', id)
    .execute()
}

const STATES_BEFORE: Record<FinalStatus, readonly OrderStatus[]> = {
  CONFIRMED: ['CREATED'],
  CANCELED: ['CREATED', 'CONFIRMED'],
}

/**
 * The only function that changes the state of an order, and only from a state that allows the change. Confirm, cancel
 * and expiry all use it, so exactly one of them succeeds.
 * @param transitions orders after the change; an order may be confirmed and then canceled
 * @returns the number of transitions made
 */
export async function updateOrderStates(trx: Database, transitions: readonly OrderRow[]): Promise<number> {
  const confirmed = Map.groupBy(transitions.filter(isIn('CONFIRMED')), ({ confirmed_at }) => confirmed_at)
  const canceled = Map.groupBy(transitions.filter(isIn('CANCELED')), ({ canceled_at }) => canceled_at)
  const groups = [...confirmed.values(), ...canceled.values()]
  const results = await runPipeline(
    trx,
    groups.map((group) => transitionQuery(trx, group)),
  )
  return results.reduce((made, result) => made + Number(result?.numAffectedRows ?? 0), 0)
}

function isIn(status: FinalStatus) {
  return (order: OrderRow) => order.status === status
}

/** Updates orders that reach the same state at the same time. */
function transitionQuery(trx: Database, orders: readonly OrderRow[]): CompiledQuery | undefined {
  const [first] = orders
  if (first === undefined || first.status === 'CREATED') return undefined
  const { status, confirmed_at, canceled_at, expires_at } = first
  const change = status === 'CONFIRMED' ? { status, confirmed_at, expires_at } : { status, canceled_at }
  return trx
    .updateTable('orders')
    .set({ ...change, version: sql<number>`version + 1` })
    .where(
      'id',
      'in',
      orders.map(({ id }) => id),
    )
    .where('status', 'in', STATES_BEFORE[status])
    .compile()
}

export interface Hold {
  id: number
  expires_at: DbTime
}

/**
 * Unconfirmed orders whose hold has ended, earliest end first.
 * @param after the last order of the previous page
 */
export function findExpiredHolds(db: Database, after: Hold | undefined, limit: number): Promise<Hold[]> {
  const { now, keysetAfter } = dialectOf(db)
  return ordersByIndex(db, 'orders_holds')
    .select(['id', sql<DbTime>`expires_at`.as('expires_at')])
    .where('status', '=', 'CREATED')
    .where('expires_at', '<=', now)
    .$if(after !== undefined, (query) =>
      query.where(keysetAfter(['expires_at', 'id'], '>', [after?.expires_at ?? '', after?.id ?? 0])),
    )
    .orderBy('expires_at')
    .orderBy('id')
    .limit(limit)
    .execute()
}

/** The number of ended holds that are read for refused orders. The sweeper releases the rest. */
const MAX_ENDED_HOLDS = 5_000
const MAX_RELEASED = 500

/** Unconfirmed orders whose hold has ended and that have lines of these products. */
export async function findEndedHolds(db: Database, productIds: readonly number[]): Promise<number[]> {
  if (productIds.length === 0) return []
  const rows = await endedLines(db)
    .where('i.product_id', 'in', productIds)
    .select('page.id')
    .limit(MAX_RELEASED)
    .execute()
  return [...new Set(rows.map((row) => row.id))]
}

/** The quantities of these products that unconfirmed orders keep although their hold has ended. */
export function endedQuantitiesQuery(db: Database, productIds: readonly number[]) {
  return endedLines(db)
    .where('i.product_id', 'in', productIds)
    .select(({ fn }) => ['i.product_id', fn.sum<number | string>('i.qty').as('qty')])
    .groupBy('i.product_id')
    .compile()
}

function endedLines(db: Database) {
  const { now, forceIndex } = dialectOf(db)
  const ended = ordersByIndex(db, 'orders_holds')
    .select('id')
    .where('status', '=', 'CREATED')
    .where('expires_at', '<=', now)
    .orderBy('expires_at')
    .limit(MAX_ENDED_HOLDS)
  return db
    .selectFrom(ended.as('page'))
    .innerJoin(sql<OwnedLine>`order_items`.as<'i'>(sql`i ${forceIndex('order_items_order')}`), (join) =>
      join.onRef('i.order_id', '=', 'page.id'),
    )
}

/** Counts the holds of these customers that have not ended. */
export function openHoldsQuery(
  trx: Database,
  customerIds: readonly number[],
  now: DbTime,
): CompiledQuery<{ customer_id: number; holds: number }> | undefined {
  if (customerIds.length === 0) return undefined
  return ordersByIndex(trx, 'orders_customer_status_created')
    .select((eb) => ['customer_id', eb.fn.countAll<number>().as('holds')])
    .where('customer_id', 'in', customerIds)
    .where('status', '=', 'CREATED')
    .where('expires_at', '>', now)
    .groupBy('customer_id')
    .compile()
}

export interface OrderFilter {
  status?: OrderStatus | undefined
  /** The order's customer must equal each of these ids. */
  customerIds: readonly number[]
  /** A PO number as it is compared. */
  poKey?: string | undefined
  from?: DbTime | undefined
  to?: DbTime | undefined
  after?: { createdAt: DbTime; id: number } | undefined
  limit: number
}

/** Newest first. Each combination of filters has an index that yields exactly these rows in this order. */
export function listOrders(db: Database, filter: OrderFilter): Promise<OrderRow[]> {
  const { status, customerIds, poKey, from, to } = filter
  // Give SQLite only the tighter upper bound: with two it seeks by the first and scans to the second.
  const after = filter.after && (to === undefined || filter.after.createdAt < to) ? filter.after : undefined
  let query = ordersByIndex(db, indexFor(filter))
    .select(READ_COLUMNS)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .limit(filter.limit)
  if (status !== undefined) query = query.where('status', '=', status)
  for (const customerId of customerIds) query = query.where('customer_id', '=', customerId)
  if (poKey !== undefined) query = query.where('po_key', '=', poKey)
  if (from !== undefined) query = query.where('created_at', '>=', from)
  if (after !== undefined) {
    query = query.where(dialectOf(db).keysetAfter(['created_at', 'id'], '<', [after.createdAt, after.id]))
  } else if (to !== undefined) query = query.where('created_at', '<', to)
  return query.execute()
}

/** Few orders have one PO number, so its index need not have the status. */
function indexFor({ status, customerIds, poKey }: OrderFilter): string {
  const ofCustomer = customerIds.length === 0 ? '' : 'customer_'
  if (poKey !== undefined) return `orders_${ofCustomer}po_created`
  return `orders_${ofCustomer}${status === undefined ? '' : 'status_'}created`
}

export type FinalStatus = Exclude<OrderStatus, 'CREATED'>

/** Selects orders of a status that were placed, and then confirmed or canceled, before a time. */
export interface FinalOrders {
  status: FinalStatus
  before: DbTime
}

/** Final orders, oldest first. @param after the last order of the previous page */
export function findFinalOrders(
  db: Database,
  { status, before }: FinalOrders,
  after: OrderRow | undefined,
  limit: number,
): Promise<(OrderRow & OrderOrigin)[]> {
  return finalOrders(db, { status, before })
    .select([...READ_COLUMNS, ...ORIGIN_COLUMNS])
    .$if(after !== undefined, (query) =>
      query.where(dialectOf(db).keysetAfter(['created_at', 'id'], '>', [after?.created_at ?? '', after?.id ?? 0])),
    )
    .orderBy('created_at')
    .orderBy('id')
    .limit(limit)
    .execute()
}

export async function countFinalOrders(db: Database, final: FinalOrders): Promise<number> {
  const { n } = await finalOrders(db, final)
    .select((eb) => eb.fn.countAll<number>().as('n'))
    .executeTakeFirstOrThrow()
  return n
}

function finalOrders(db: Database, { status, before }: FinalOrders) {
  return ordersByIndex(db, 'orders_status_created')
    .where('status', '=', status)
    .where('created_at', '<', before)
    .where(sql<string>`coalesce(canceled_at, confirmed_at)`, '<', before)
}

/** Orders placed before a time that have a stored response: their callers may send the key again. */
export async function findKeyedOrders(db: Database, placedBefore: DbTime): Promise<Set<number>> {
  const rows = await db
    .selectFrom('idempotency_keys as k')
    .innerJoin('orders as o', 'o.id', 'k.target_id')
    .select('k.target_id')
    .distinct()
    .where('k.target_type', '=', 'order')
    .where('o.created_at', '<', placedBefore)
    .execute()
  return new Set(rows.map(({ target_id }) => target_id))
}

/** The orders among these ids with a stored response that is kept until a time or longer. */
export async function findOrdersKeyedUntil(trx: Database, ids: readonly number[], until: DbTime): Promise<Set<number>> {
  const { forceIndex } = dialectOf(trx)
  const { rows } = await sql<{ target_id: number }>`
    select target_id from idempotency_keys k ${forceIndex('idempotency_keys_expiry')}
    where expires_at >= ${until} and target_type = 'order' and target_id in (${sql.join(ids)})`.execute(trx)
  return new Set(rows.map(({ target_id }) => target_id))
}

/** Deletes orders that the transaction has locked, and their lines. */
export async function deleteOrders(trx: Database, ids: readonly number[]): Promise<void> {
  if (ids.length === 0) return
  await trx.deleteFrom('order_items').where('order_id', 'in', ids).execute()
  await trx.deleteFrom('orders').where('id', 'in', ids).execute()
}

/** A use of an idempotency key, with the order of its stored response. */
export interface KeyUseRow extends OrderRow {
  operation: string
  key: string
  principal: string
  answered: number
  used_at: DbTime
  kept_until: DbTime
}

/** The uses of these keys, unsorted. Expired uses are included until they are purged. */
export function findUsesOfKeys(
  db: Database,
  operations: readonly string[],
  keys: readonly string[],
): Promise<KeyUseRow[]> {
  const { byPrimaryKey } = dialectOf(db)
  return db
    .selectFrom(sql<Selectable<Tables['idempotency_keys']>>`idempotency_keys`.as<'k'>(sql`k ${byPrimaryKey}`))
    .innerJoin('orders as o', 'o.id', 'k.target_id')
    .select(['k.operation', 'k.key', 'k.principal', 'k.status as answered'])
    .select(['k.created_at as used_at', 'k.expires_at as kept_until'])
    .select(READ_COLUMNS.map((column) => `o.${column}` as const))
    .where('k.operation', 'in', operations)
    .where('k.key', 'in', keys)
    .execute()
}

export function findOrder(db: Database, id: number): Promise<(OrderRow & OrderOrigin) | undefined> {
  return db
    .selectFrom('orders')
    .select([...READ_COLUMNS, ...ORIGIN_COLUMNS])
    .where('id', '=', id)
    .executeTakeFirst()
}

/** Orders from an id (inclusive) to another id (exclusive). */
export interface OrderRange {
  from: number
  before: number
}

/**
 * A page of a scan: the id range and times of the `size` orders before an id, and how many of them since a time have no
 * origin. Undefined when the page is empty.
 */
export async function findPageBefore(db: Database, before: number, size: number, since: DbTime) {
  const page = db
    .selectFrom('orders')
    .select(['id', 'created_at', 'placed_by'])
    .where('id', '<', before)
    .orderBy('id', 'desc')
    .limit(size)
  const { first, oldest, newest, orders, unrecorded } = await db
    .selectFrom(page.as('page'))
    .select(({ fn }) => [
      fn.min('id').as('first'),
      fn.min('created_at').as('oldest'),
      fn.max('created_at').as('newest'),
    ])
    .select(({ fn }) => fn.countAll<number>().as('orders'))
    .select(sql<number>`count(case when placed_by is null and created_at >= ${since} then 1 end)`.as('unrecorded'))
    .executeTakeFirstOrThrow()
  return orders === 0 ? undefined : { first, oldest, newest, orders, unrecorded }
}

/** The principals that placed the orders of a range. */
export async function findPlacers(db: Database, { from, before }: OrderRange): Promise<string[]> {
  const rows = await db
    .selectFrom('orders')
    .select('placed_by')
    .distinct()
    .where('id', '>=', from)
    .where('id', '<', before)
    .execute()
  return rows.flatMap(({ placed_by }) => placed_by ?? [])
}

export interface OriginFilter extends OrderRange {
  since: DbTime
  correlationId?: string | undefined
  keyHashes?: readonly string[]
  placedBy?: readonly string[] | undefined
}

/** Orders of a range by their origin, newest first. No index helps, so the whole range is read. */
export function findOrdersByOrigin(db: Database, filter: OriginFilter): Promise<(OrderRow & OrderOrigin)[]> {
  const { from, before, since, correlationId, keyHashes, placedBy } = filter
  let query = db
    .selectFrom('orders')
    .select([...READ_COLUMNS, ...ORIGIN_COLUMNS])
    .where('id', '>=', from)
    .where('id', '<', before)
    .where('created_at', '>=', since)
  if (correlationId !== undefined) query = query.where('correlation_id', '=', correlationId)
  if (keyHashes !== undefined) query = query.where('key_hash', 'in', keyHashes)
  if (placedBy !== undefined) query = query.where('placed_by', 'in', placedBy)
  return query.orderBy('id', 'desc').execute()
}

function ordersByIndex(db: Database, index: string) {
  return db.selectFrom(sql<StoredOrder>`orders`.as<'o'>(sql`o ${dialectOf(db).forceIndex(index)}`))
}
