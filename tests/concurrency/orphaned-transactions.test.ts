import { sql } from 'kysely'
import { describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { openDatabase } from '../../src/platform/database/open.ts'
import { startInstance } from '../../testing/instances.ts'
import { newProduct } from '../../testing/rows.ts'
import { openSession, useSystem } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 90_000 })

/** The settings of operations.md for MariaDB, and for a server with idle limits only. */
const IDLE_TRANSACTION_MS = 10_000
const IDLE_CONNECTION_MS = 30_000
const GRACE_MS = 5_000

describe.skipIf(inject('mysql') === null)('a transaction whose host is gone', () => {
  const system = useSystem('mysql')

  it('when a process falls silent in mid-transaction, then its locks end soon', async () => {
    const product = await newProduct(system, { stock: 5 })
    const db = await openDatabase({ ...system.env.database, pool: 1 })
    onTestFinished(() => db.destroy())
    const locking = (trx: typeof db) => trx.selectFrom('products').select('id').where('id', '=', product.id).forUpdate()
    const began = Date.now()
    const locked = Promise.withResolvers<void>()
    const freed = Promise.withResolvers<void>()
    const silent = db.transaction().execute(async (trx) => {
      await locking(trx).execute()
      locked.resolve()
      await freed.promise
    })
    const ended = expect(silent).rejects.toThrow()
    await locked.promise
    const other = await openSession(system)
    const lock = 'select id from products where id = ? for update'
    await expect(other.query(`${lock} nowait`, [product.id])).rejects.toThrow()
    await other.query('set session innodb_lock_wait_timeout = 60')
    await other.query(lock, [product.id])
    const [versions] = await other.query('select version() as version')
    const isMariadb = JSON.stringify(versions).includes('MariaDB')
    expect(Date.now() - began).toBeLessThan((isMariadb ? IDLE_TRANSACTION_MS : IDLE_CONNECTION_MS) + GRACE_MS)
    freed.resolve()
    await ended
  })

  it('when connections are idle, then the pool ends them before the server does', async () => {
    const db = await openDatabase({ ...system.env.database, pool: 2 })
    onTestFinished(() => db.destroy())
    const { rows } = await sql<{ id: number }>`select connection_id() as id`.execute(db)
    const admin = await openSession(system)
    const isOpen = async () => {
      const [found] = await admin.query('select id from information_schema.processlist where id = ?', [rows[0]?.id])
      return Array.isArray(found) && found.length > 0
    }
    expect(await isOpen()).toBe(true)
    await expect.poll(isOpen, { timeout: IDLE_CONNECTION_MS, interval: 500 }).toBe(false)
    await sql`select 1`.execute(db)
  })

  it('when the server ends idle connections, then the next requests do not notice', async () => {
    const { api } = await startInstance('orders', system, { DB_POOL: '2' })
    const admin = await openSession(system)
    expect((await api.get('/products/1')).status).toBe(200)
    const { name } = system.env.database
    const [rows] = await admin.query(
      "select id from information_schema.processlist where db = ? and command = 'Sleep' and id <> connection_id()",
      [name],
    )
    for (const { id } of JSON.parse(JSON.stringify(rows))) await admin.query(`kill ${id}`)
    for (let i = 0; i < 5; i++) expect((await api.get('/products/1')).status).toBe(200)
  })
})
