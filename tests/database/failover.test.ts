import { randomBytes } from 'node:crypto'
import { type Connection, createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { seed } from '../../src/compose/demo-data.ts'
import { migrate } from '../../src/compose/schema.ts'
import { ensureDatabase, openDatabase } from '../../src/platform/database/open.ts'
import { transact } from '../../src/platform/database/transaction.ts'
import { purgeExpiredKeys } from '../../src/platform/idempotency/purge.ts'
import {
  type CrashableServer,
  type DatabaseServer,
  HOW_TO_GET_A_SERVER,
  startCrashableServer,
} from '../../testing/database-server.ts'
import { expectProblem } from '../../testing/problems.ts'
import { openProxy } from '../../testing/proxy.ts'
import { atOnce, newKey, statusCounts } from '../../testing/rows.ts'
import { serveOrders } from '../../testing/services.ts'
import { type TestSystem, useSystem } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 90_000 })

/** The longest acceptable recovery after the name leads to a writer. */
const RECOVERY_MS = 5_000
const ORDER = { customer_id: 1, items: [{ product_id: 2, qty: 1 }] }
const POOL = 4
const AT = '2026-02-01 10:00:00.000'

type Server = Pick<DatabaseServer, 'host' | 'port' | 'user' | 'password'>

describe.skipIf(inject('mysql') === null)('a failover', () => {
  const system = useSystem('mysql')
  const name = `b2b_test_${randomBytes(6).toString('hex')}`
  const user = `b2b_${randomBytes(6).toString('hex')}`
  let former: CrashableServer
  let writer: Server
  let admins: { former: Connection; writer: Connection }

  beforeAll(async () => {
    const started = await startCrashableServer()
    const shared = inject('mysql')
    if (started === undefined || shared === null) throw new Error(HOW_TO_GET_A_SERVER)
    former = started
    writer = shared
    admins = { former: await prepare(former), writer: await prepare(writer) }
  })
  afterAll(async () => {
    await admins.writer.query(`drop database ${name}`)
    await admins.writer.query(`drop user ${user}`)
    for (const admin of Object.values(admins)) await admin.end()
    await former.stop()
  })
  beforeEach(() => admins.former.query('set global read_only = 0'))

  /** The same database on each server, and a user without the right to bypass `read_only`. */
  async function prepare(server: Server): Promise<Connection> {
    const config = { ...system.env.database, ...server, name }
    await ensureDatabase(config)
    const db = await openDatabase(config)
    await migrate(db)
    await seed(db)
    await db.destroy()
    const { host, port, user: root, password } = server
    const admin = await createConnection({ host, port, user: root, password })
    await admin.query(`create user ${user}`)
    await admin.query(`grant select, insert, update, delete on ${name}.* to ${user}`)
    return admin
  }

  /** Orders with a name that leads to the former writer, and a pool whose connections are all open. */
  async function ordersByName() {
    const named = await openProxy(former)
    onTestFinished(() => named.close())
    const { host, port } = named
    const config = { ...system.env.database, host, port, user, password: '', name, pool: POOL }
    const db = await openDatabase(config)
    onTestFinished(() => db.destroy())
    const behind: TestSystem = { ...system, db }
    const { api } = await serveOrders(behind, {})
    expect(statusCounts(await atOnce(3 * POOL, () => api.get('/products/1')))).toEqual({ 200: 3 * POOL })
    return { api, db, named }
  }

  async function countOrders(admin: Connection): Promise<number> {
    const [rows] = await admin.query(`select count(*) as n from ${name}.orders`)
    return Array.isArray(rows) && rows[0] && 'n' in rows[0] ? Number(rows[0].n) : -1
  }

  it('when the name leads to a writer already, then no order is refused or lost', async () => {
    const { api, named } = await ordersByName()
    const before = { former: await countOrders(admins.former), writer: await countOrders(admins.writer) }
    await admins.former.query('set global read_only = 1')
    named.leadTo(writer)
    for (let i = 0; i < 3; i++) {
      expect(statusCounts(await atOnce(4, () => api.post('/orders', ORDER)))).toEqual({ 201: 4 })
    }
    expect(await countOrders(admins.former)).toBe(before.former)
    expect(await countOrders(admins.writer)).toBe(before.writer + 12)
    expect((await api.get('/ready')).status).toBe(200)
  })

  it('while there is no writer, then 503, and orders within 5 s after there is one', async () => {
    const { api, named } = await ordersByName()
    await admins.former.query('set global read_only = 1')
    const key = { headers: { 'idempotency-key': newKey() } }
    const refused = await api.post('/orders', ORDER, key)
    expectProblem(refused, 503, 'unavailable')
    expect(refused.headers.get('retry-after')).toBe('1')
    expectProblem(await api.get('/ready'), 503, 'unavailable')
    expect((await api.get('/health')).status).toBe(200)
    expect((await api.get('/products/1')).status).toBe(200)

    named.leadTo(writer)
    const timeout = RECOVERY_MS
    await expect.poll(async () => (await api.post('/orders', ORDER, key)).status, { timeout }).toBe(201)
    expect((await api.get('/ready')).status).toBe(200)
    expect((await api.post('/orders', ORDER, key)).headers.get('idempotent-replayed')).toBe('true')
  })

  it('when only /ready and the sweep run, then they find the new writer too', async () => {
    const { api, db, named } = await ordersByName()
    await admins.former.query('set global read_only = 1')
    await expect(purgeExpiredKeys(db, 100)).rejects.toThrow(/read-only/)
    named.leadTo(writer)
    await expect(purgeExpiredKeys(db, 100)).resolves.toBe(0)
    expect((await api.get('/ready')).status).toBe(200)
  })

  it('when the server turns read-only before a commit, then the work runs elsewhere', async () => {
    const { db, named } = await ordersByName()
    const email = `${newKey()}@example.com`
    let attempts = 0
    await transact(db, async (trx) => {
      const fields = { name: 'Ann', email, email_key: email, created_at: AT, updated_at: AT }
      await trx.insertInto('customers').values(fields).execute()
      if (++attempts > 1) return
      named.leadTo(writer)
      await admins.former.query('set global read_only = 1')
    })
    expect(attempts).toBe(2)
    const [rows] = await admins.writer.query(`select email from ${name}.customers where email = ?`, [email])
    expect(rows).toHaveLength(1)
  })
})
