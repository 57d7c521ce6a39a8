import {
  type CompiledQuery,
  type Driver,
  Kysely,
  MysqlAdapter,
  MysqlIntrospector,
  MysqlQueryCompiler,
  type QueryResult,
} from 'kysely'
import { describe, expect, it } from 'vitest'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import type { PipelineConnection } from '../platform/database/pipeline.ts'
import type { Tables } from '../platform/database/tables.ts'
import { systemOrigin } from '../platform/events/record.ts'
import type { Principal } from '../platform/http/principal.ts'
import { claimOf, type Operation } from '../platform/idempotency/claim.ts'
import { changeOrders } from './change-orders.ts'
import { CANCEL_ORDER, type ChangeCommand, PLACE_ORDER, type PlaceCommand } from './commands.ts'
import { LOCK_ORDER } from './locked-commands.ts'
import { placeOrders } from './place-orders.ts'

const NOW = '2026-01-05 09:00:00.000'
const CONFIG = {
  idempotencyTtlMinutes: 60,
  cancelWindowMinutes: 60,
  runLockWaitMs: 500,
  timeZone: 'UTC',
  currency: 'USD',
  countOrder: () => {},
}
const CALLER: Principal = { id: 'erp', scopes: new Set(), customerId: null }

/** Locks that an insert takes by its foreign keys, on rows that are there already. */
const FOREIGN_KEYS: Record<string, string[]> = { orders: ['customers'], order_items: ['products'] }

/** A database in which every row asked for exists and is free, and the statements that it was sent. */
function recordingDatabase() {
  const statements: CompiledQuery[] = []
  const executeQuery = async <R>(query: CompiledQuery): Promise<QueryResult<R>> => {
    statements.push(query)
    const ids = idsIn(query)
    return { rows: unsafeCast<R[]>(rowsFor(query, ids)), insertId: 100n, numAffectedRows: BigInt(ids.length) }
  }
  const connection: PipelineConnection = {
    executeQuery,
    enqueueWrite: async (query) => void (await executeQuery(query)),
    pipeline: (queries) => Promise.all(queries.map((query) => executeQuery(query))),
    async *streamQuery() {},
  }
  const nothing = async () => {}
  const driver: Driver = {
    init: nothing,
    acquireConnection: async () => connection,
    beginTransaction: nothing,
    commitTransaction: nothing,
    rollbackTransaction: nothing,
    releaseConnection: nothing,
    destroy: nothing,
  }
  const db = new Kysely<Tables>({
    dialect: {
      createAdapter: () => new MysqlAdapter(),
      createDriver: () => driver,
      createIntrospector: (db) => new MysqlIntrospector(db),
      createQueryCompiler: () => new MysqlQueryCompiler(),
    },
  })
  return { db, statements }
}

function idsIn({ parameters }: CompiledQuery): number[] {
  return parameters.filter((value) => typeof value === 'number')
}

const PRODUCT = { price_cents: 100, stock: 10, active: 1, min_qty: 1, qty_step: 1, max_qty: null }

function rowsFor({ sql }: CompiledQuery, ids: number[]): unknown[] {
  if (/left join `idempotency_keys`/.test(sql)) return [{ now: NOW, id_step: 1, operation: null }]
  if (/count\(/.test(sql)) return []
  if (/from `products`/.test(sql)) return ids.map((id) => ({ ...PRODUCT, id }))
  if (/live_po/.test(sql)) return []
  if (/from `customers`/.test(sql)) return ids.map((id) => ({ id, po_policy: 'unique' }))
  if (/from `order_items`/.test(sql)) {
    return ids.flatMap((order_id) => [
      { order_id, product_id: 10 - order_id, qty: 1, unit_price_cents: 100, subtotal_cents: 100 },
    ])
  }
  const order = {
    customer_id: 1,
    status: 'CONFIRMED',
    total_cents: 100,
    created_at: NOW,
    confirmed_at: NOW,
    ship_to: null,
    metadata: null,
  }
  return ids.map((id) => ({ id, ...order, canceled_at: null, expires_at: null }))
}

/** The tables of whose rows a statement locks some. */
function lockedBy({ sql }: CompiledQuery): string[] {
  const [, read] = (/for update/.test(sql) && /from `(\w+)`/.exec(sql)) || []
  const [, updated] = /^\s*update `?(\w+)/.exec(sql) ?? []
  const [, inserted] = /^\s*insert into `(\w+)`/.exec(sql) ?? []
  const written = inserted === 'idempotency_keys' ? [inserted] : (FOREIGN_KEYS[inserted ?? ''] ?? [])
  return [read, updated, ...written].filter((table) => table !== undefined)
}

const CAUSE = systemOrigin('test')

function claim(operation: Operation, key: string) {
  return claimOf(operation, CALLER, key)
}

function placement(customerId: number, productIds: number[]): PlaceCommand {
  return {
    kind: 'place',
    claim: claim(PLACE_ORDER, `place-${customerId}`),
    share: 'erp',
    customerId,
    items: productIds.map((product_id) => ({ product_id, qty: 1 })),
    details: { po_number: `PO-${customerId}` },
    holdMinutes: 60,
    maxHoldMinutes: 60,
    maxOpenHolds: 5,
    customer: undefined,
    origin: { placed_by: 'erp', correlation_id: null, key_hash: null },
    cause: CAUSE,
  }
}

function cancel(orderId: number): ChangeCommand {
  const key = claim(CANCEL_ORDER, `cancel-${orderId}`)
  return { kind: 'cancel', orderId, boundTo: null, claim: key, share: 'erp', cause: CAUSE }
}

describe.each([true, false])('a transaction that waits for locks: %s', (waitsForLocks) => {
  const mode = { waitsForLocks }

  function expectInOrder(statements: readonly CompiledQuery[], expected: string[]): void {
    const locked = [...new Set(statements.flatMap(lockedBy))]
    expect(locked).toEqual(LOCK_ORDER.filter((table) => expected.includes(table)))
    for (const query of statements.filter(({ sql }) => /for update/.test(sql) && /order by `?id/.test(sql))) {
      expect(idsIn(query)).toEqual(idsIn(query).toSorted((a, b) => a - b))
    }
  }

  it('when orders are placed, then rows are locked in the one order', async () => {
    const { db, statements } = recordingDatabase()
    const outcomes = await placeOrders(db, [placement(2, [9, 3]), placement(1, [7, 3])], CONFIG, mode)
    expect(outcomes).toMatchObject([{ status: 201 }, { status: 201 }])
    // Only a run that does not wait locks the orders that have a PO number.
    expectInOrder(statements, [...(waitsForLocks ? [] : ['orders']), 'products', 'customers', 'idempotency_keys'])
  })

  it('when orders are canceled, then rows are locked in the one order', async () => {
    const { db, statements } = recordingDatabase()
    const outcomes = await changeOrders(db, [cancel(5), cancel(2)], CONFIG, mode)
    expect(outcomes).toMatchObject([{ status: 200 }, { status: 200 }])
    expectInOrder(statements, ['orders', 'products', 'idempotency_keys'])
  })
})
