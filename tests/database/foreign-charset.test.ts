import { randomBytes } from 'node:crypto'
import { createConnection } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { seed } from '../../src/compose/demo-data.ts'
import { migrate } from '../../src/compose/schema.ts'
import { ensureDatabase, openDatabase } from '../../src/platform/database/open.ts'
import { type CrashableServer, HOW_TO_GET_A_SERVER, startCrashableServer } from '../../testing/database-server.ts'
import { newKey } from '../../testing/rows.ts'
import { serveOrders } from '../../testing/services.ts'
import { useSystem } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000, hookTimeout: 90_000 })

/**
 * In GBK the last byte of this character and our escaping backslash form one character, so the quote stays unescaped.
 */
const OPENING = '縗'

/** Ways in which a server uses another character set than the one of the handshake. */
const SERVERS: { does: string; options: string[]; statements: string[] }[] = [
  {
    does: 'runs SET NAMES gbk for new connections',
    options: [],
    statements: ["set global init_connect = 'SET NAMES gbk'"],
  },
  {
    does: 'skips the handshake and has gbk',
    options: ['--skip-character-set-client-handshake', '--character-set-server=gbk'],
    statements: [],
  },
]

describe.skipIf(inject('mysql') === null).each(SERVERS)('a server that $does', ({ options, statements }) => {
  const system = useSystem('mysql')
  let server: CrashableServer

  beforeAll(async () => {
    const started = await startCrashableServer({ options })
    if (started === undefined) throw new Error(HOW_TO_GET_A_SERVER)
    server = started
  })
  afterAll(() => server.stop())

  /** Orders as an ordinary user: a server does not run `init_connect` for administrators. */
  async function ordersThere() {
    const name = `b2b_test_${randomBytes(6).toString('hex')}`
    const { host, port, user: root, password } = server
    const config = { ...system.env.database, host, port, user: root, password, name }
    await ensureDatabase(config)
    const migrating = await openDatabase(config)
    await migrate(migrating)
    await seed(migrating)
    await migrating.destroy()
    const admin = await createConnection({ host, port, user: root, password })
    const user = `b2b_${randomBytes(6).toString('hex')}`
    await admin.query(`create user ${user}`)
    await admin.query(`grant select, insert, update, delete on ${name}.* to ${user}`)
    for (const statement of statements) await admin.query(statement)
    const db = await openDatabase({ ...config, user, password: '' })
    onTestFinished(async () => {
      await db.destroy()
      await admin.end()
    })
    return serveOrders({ ...system, db }, {})
  }

  it('when a name tries to end its quotes, then it is stored as it is', async () => {
    const { api } = await ordersThere()
    const names = [
      `${OPENING}', price_cents = 1 -- x`,
      `${OPENING}',0x61,1,1,'2026-01-01','2026-01-01');update products set price_cents=1 -- x`,
      `${OPENING}\\`,
      'Zażółć gęślą jaźń 🙂',
    ]
    const created = await api.post('/products', { sku: newKey(), name: 'plain', price_cents: 500, stock: 1 })
    expect(created.status).toBe(201)
    for (const name of names) {
      const made = await api.post('/products', { sku: newKey(), name, price_cents: 500, stock: 1 })
      expect([made.status, made.body.name]).toEqual([201, name])
      expect((await api.patch(`/products/${created.body.id}`, { name })).status).toBe(200)
      for (const id of [created.body.id, made.body.id]) {
        expect((await api.get(`/products/${id}`)).body).toMatchObject({ name, price_cents: 500 })
      }
    }
    const { body } = await api.get('/products?limit=100')
    expect(body.data.filter((product: { price_cents: number }) => product.price_cents === 1)).toEqual([])
  })
})
