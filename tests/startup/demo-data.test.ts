import { readFileSync } from 'node:fs'
import { sql } from 'kysely'
import { expect, it, onTestFinished, vi } from 'vitest'
import { parse } from 'yaml'
import { resetDemoData } from '../../src/compose/demo-data.ts'
import { DATA_TABLES, NOTE_TABLES } from '../../src/compose/schema.ts'
import { createCustomersService } from '../../src/customers/service.ts'
import type { ListedEvent } from '../../testing/feed.ts'
import type { Variables } from '../../testing/fixture.ts'
import { ROOT, runProgram, startCommand, within } from '../../testing/programs.ts'
import { newOrder } from '../../testing/rows.ts'
import { createTestDatabase, describeEachEngine, useSystem } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000 })

const AT = '2026-02-01 10:00:00.000'

/** A migrated database, and a dump of its rows. */
async function migrated(engine: 'sqlite' | 'mysql') {
  const { db, variables, drop } = await createTestDatabase(engine)
  onTestFinished(drop)
  const contents = async () => {
    const rows: Record<string, unknown> = {}
    for (const table of DATA_TABLES) rows[table] = await db.selectFrom(table).selectAll().execute()
    return rows
  }
  return { variables, db, contents }
}

const run = async (script: string, variables: Variables, args: string[] = []) => {
  const { code, stdout, stderr } = await runProgram(script, variables, args)
  return { code, output: `${stdout}${stderr}`.trim() }
}

describeEachEngine('npm run seed', (engine) => {
  it('when the database has its own product, then it is refused and nothing changes', async () => {
    const { variables, db, contents } = await migrated(engine)
    const product = { sku: 'OWN-1', name: 'Own', price_cents: 100, stock: 7, created_at: AT, updated_at: AT }
    await db
      .insertInto('products')
      .values({ ...product, id: 1 })
      .execute()
    const adjustment = { product_id: 1, delta: 7, reason: 'initial stock', principal: 'client:erp', created_at: AT }
    await db.insertInto('stock_adjustments').values(adjustment).execute()
    const before = await contents()
    const { code, output } = await run('seed', variables)
    expect({ code, output }).toEqual({ code: 1, output: expect.stringContaining(' has rows of its own. ') })
    expect(output).not.toMatch(/^\s+at /m)
    expect(await run('seed', variables, ['--if-empty'])).toMatchObject({ code: 0 })
    expect(await contents()).toEqual(before)
    expect(await run('audit:books', variables)).toMatchObject({ code: 0 })
  })

  it('when customers of the demo data were deleted, then their words stay deleted', async () => {
    const { variables, db, contents } = await migrated(engine)
    expect((await run('seed', variables)).code).toBe(0)
    const principal = { id: 'client:demo', scopes: new Set([]), customerId: null }
    const customers = createCustomersService(db, { idempotencyTtlMinutes: 60 })
    const preconditions = { ifMatch: undefined, ifNoneMatch: undefined }
    const trace = { correlationId: 'demo', traceparent: undefined }
    await customers.deleteCustomer({ principal, trace }, 1, undefined, preconditions)
    const before = await contents()
    expect(await run('seed', variables)).toEqual({ code: 0, output: expect.stringMatching(/already. Nothing was/) })
    expect(await contents()).toEqual(before)
  })
})

describeEachEngine('npm run demo:reset', (engine) => {
  it('when rows were added or changed, then only the demo data is left, ids included', async () => {
    const { variables, db, contents } = await migrated(engine)
    expect((await run('seed', variables)).code).toBe(0)
    const before = await contents()
    const order = { customer_id: 1, total_cents: 0, created_at: AT, confirmed_at: null, expires_at: AT }
    await db
      .insertInto('orders')
      .values({ ...order, status: 'CANCELED', canceled_at: AT })
      .execute()
    await db.updateTable('products').set({ stock: 1 }).execute()
    const asked = await run('demo:reset', variables)
    if (engine === 'mysql') {
      expect(asked).toEqual({ code: 1, output: expect.stringContaining('To go on, add --yes.') })
      expect(await contents()).not.toEqual(before)
      expect(await run('demo:reset', variables, ['--yes'])).toMatchObject({ code: 0 })
    } else expect(asked).toMatchObject({ code: 0 })
    expect(await contents()).toEqual(before)
    const again = { ...order, status: 'CANCELED', canceled_at: AT } as const
    const { insertId } = await db.insertInto('orders').values(again).executeTakeFirstOrThrow()
    expect(Number(insertId)).toBe(5)
  })

  it('when the database has other rows, then it asks before it deletes them', async () => {
    const { variables, db, contents } = await migrated(engine)
    const customer = { name: 'Own', email: 'own@example.com', email_key: 'own@example.com', phone: null }
    await db
      .insertInto('customers')
      .values({ ...customer, created_at: AT, updated_at: AT })
      .execute()
    const before = await contents()
    expect(await run('demo:reset', variables)).toMatchObject({ code: 1 })
    expect(await onTerminal('demo-reset', variables, 'n\n')).toMatchObject({ code: 1 })
    expect(await contents()).toEqual(before)
    expect(await onTerminal('demo-reset', variables, 'y\n')).toMatchObject({ code: 0 })
    expect(await run('audit:books', variables)).toMatchObject({ code: 0 })
    expect((await contents()).customers).toHaveLength(4)
  })

  it('when the database has a table of others, then the reset leaves it as it is', async () => {
    const { db, drop } = await createTestDatabase(engine)
    onTestFinished(drop)
    const id = sql.raw(engine === 'mysql' ? 'int primary key auto_increment' : 'integer primary key autoincrement')
    await sql`create table others (id ${id})`.execute(db)
    await sql`insert into others (id) values (100)`.execute(db)
    await sql`delete from others`.execute(db)
    await resetDemoData(db)
    await sql`insert into others (id) values (null)`.execute(db)
    expect((await sql`select id from others`.execute(db)).rows).toEqual([{ id: 101 }])
  })

  it('when it is production, then it is refused', async () => {
    const { variables, contents } = await migrated(engine)
    const secrets = { NODE_ENV: 'production', JWT_SECRET: 'j'.repeat(32), SERVICE_TOKEN: 's'.repeat(32) }
    expect(await run('demo:reset', { ...variables, ...secrets }, ['--yes'])).toMatchObject({ code: 1 })
    expect((await contents()).customers).toEqual([])
  })

  it('when a table of the schema has rows, then the reset empties it', async () => {
    const { db, drop } = await createTestDatabase(engine)
    onTestFinished(drop)
    const tables = (await db.introspection.getTables()).map(({ name }) => name)
    // The current writer is not data: its row stays. So does that of the feed, with another position.
    expect([...DATA_TABLES, ...NOTE_TABLES, 'database_writer', 'event_feed'].sort()).toEqual(
      tables.filter((name) => !name.startsWith('sqlite_')).sort(),
    )
  })
})

describeEachEngine('the events of the demo data', (engine) => {
  const system = useSystem(engine)

  it('when the feed is read, then it tells in the order of time how all rows came to be', async () => {
    const { body } = await system.orders.get('/events')
    const events: ListedEvent[] = body.data
    expect(events.map(({ position, id }) => [position, id])).toEqual(
      Array.from({ length: 14 }, (_, i) => [i + 1, `evt_${i + 1}`]),
    )
    expect(events.map(({ timestamp }) => timestamp)).toEqual(events.map(({ timestamp }) => timestamp).toSorted())
    expect(events.map(({ type, resource: { id, version } }) => `${type} ${id} v${version}`)).toEqual([
      ...[1, 2, 3, 4].map((id) => `customer.created ${id} v1`),
      ...[1, 2, 3, 4].map((id) => `product.created ${id} v1`),
      'order.placed 1 v1',
      'order.confirmed 1 v2',
      'order.placed 2 v1',
      'order.placed 3 v1',
      'order.canceled 3 v2',
      'order.placed 4 v1',
    ])
  })

  it('when they are compared with the rows, then each has what the services would write', async () => {
    const { body } = await system.orders.get('/events')
    const last = new Map<string, ListedEvent>(body.data.map((event: ListedEvent) => [nameOf(event), event]))
    for (const id of [1, 2, 3, 4]) {
      const [customer, product, order] = [
        await system.customers.get(`/customers/${id}`),
        await system.orders.get(`/products/${id}`),
        await system.orders.get(`/orders/${id}`),
      ]
      expect(last.get(`customer ${id}`).data).toEqual({ customer: customer.body })
      const { stock, ...rest } = product.body
      expect(last.get(`product ${id}`).data.product).toEqual({ ...rest, stock: expect.any(Number) })
      expect(last.get(`product ${id}`).data.product.stock).toBeGreaterThanOrEqual(stock)
      expect(last.get(`order ${id}`).data.order).toEqual(order.body)
      const history = await system.orders.get(`/orders/${id}/history`)
      expect(history.body.data).toHaveLength(order.body.version)
    }
    expect(last.get('order 1').data.previous).toEqual({
      status: 'CREATED',
      confirmed_at: null,
      expires_at: '2026-01-08T10:15:00.000Z',
    })
    expect(last.get('order 3').data).toMatchObject({
      previous: { status: 'CREATED', canceled_at: null },
      reason: 'hold_expired',
    })
  })

  it('when it is reset amid new events, then positions go on after its own', async () => {
    await newOrder(system, [{ product_id: 1, qty: 1 }])
    await system.orders.get('/events?after=latest')
    await newOrder(system, [{ product_id: 1, qty: 1 }])
    await resetDemoData(system.db)
    expect((await system.orders.get('/events')).body.data).toHaveLength(14)
    const { id } = await newOrder(system, [{ product_id: 1, qty: 1 }])
    const { body } = await system.orders.get('/events')
    expect(body.data.at(-1)).toMatchObject({ position: 15, id: 'evt_15', resource: { id } })
    expect(body.data).toHaveLength(15)
  })

  function nameOf({ resource: { type, id } }: ListedEvent): string {
    return `${type} ${id}`
  }
})

/** Runs a command as a person at a terminal, who types this. */
function onTerminal(command: string, variables: Variables, typed: string) {
  const program = `printf ${JSON.stringify(typed)} | script -qec "node ${ROOT}/src/commands/${command}.ts" /dev/null`
  const { ended, stdout } = startCommand('bash', ['-o', 'pipefail', '-c', program], variables)
  return within(ended, () => `it did not end\n${stdout()}`)
}

it('when docker-compose seeds, then only into a database without rows', () => {
  const { services } = parse(readFileSync('docker-compose.yml', 'utf8'))
  expect(String(services.migrate.command)).toContain('seed.js --if-empty')
})
