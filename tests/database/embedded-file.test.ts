import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { sql } from 'kysely'
import { expect, it, onTestFinished, vi } from 'vitest'
import { auditBooks } from '../../src/audit/service.ts'
import { parseEnv } from '../../src/compose/env.ts'
import { openDatabase } from '../../src/platform/database/open.ts'
import { expectProblem } from '../../testing/problems.ts'
import { type Ended, runProgram } from '../../testing/programs.ts'
import { atOnce, newKey, newProduct, statusCounts, stockOf } from '../../testing/rows.ts'
import { useSystem } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000 })

/** The longest acceptable wait for the file. */
const FILE_WAIT_MS = 5_000
/** Tolerance for a busy machine. */
const GRACE_MS = 2_500

const system = useSystem('sqlite')

/** Holds the file's write lock in another program until the test ends or releases it. */
function holdFile(): { letGo(): void } {
  const other = new DatabaseSync(system.env.database.file)
  other.exec('begin immediate')
  onTestFinished(() => other.close())
  return { letGo: () => other.exec('rollback') }
}

function orderOf(productId: number) {
  return { customer_id: 1, items: [{ product_id: productId, qty: 1 }] }
}

async function timed<T>(work: Promise<T>): Promise<[T, number]> {
  const began = performance.now()
  return [await work, performance.now() - began]
}

it('while another program locks the file, then writes are 503 in 5 s, reads continue', async () => {
  const product = await newProduct(system, { stock: 20 })
  holdFile()
  const writing = timed(
    Promise.all([
      ...Array.from({ length: 10 }, () => system.orders.post('/orders', orderOf(product.id))),
      ...Array.from({ length: 10 }, (_, i) =>
        system.customers.post('/customers', { name: 'Ann', email: `${newKey()}${i}@example.com` }),
      ),
    ]),
  )
  let writes: Awaited<typeof writing> | undefined
  writing.then((result) => {
    writes = result
  })
  let maxMs = 0
  while (writes === undefined) {
    const [health, ms] = await timed(system.orders.get('/health'))
    expect(health.status).toBe(200)
    expect((await system.orders.get(`/products/${product.id}`)).status).toBe(200)
    maxMs = Math.max(maxMs, ms)
  }
  const [responses, ms] = writes
  for (const response of responses) expectProblem(response, 503, 'unavailable')
  expect(ms).toBeLessThan(FILE_WAIT_MS + GRACE_MS)
  expect(maxMs).toBeLessThan(1_000)
})

it('while another program locks the file, then the service is not ready', async () => {
  const { letGo } = holdFile()
  expectProblem(await system.orders.get('/ready'), 503, 'unavailable')
  letGo()
  await expect.poll(async () => (await system.orders.get('/ready')).status, { timeout: FILE_WAIT_MS }).toBe(200)
})

it('when the file is released in time, then orders that waited are placed once', async () => {
  const product = await newProduct(system, { stock: 20 })
  const { letGo } = holdFile()
  const key = newKey()
  const order = () => system.orders.post('/orders', orderOf(product.id), { headers: { 'idempotency-key': key } })
  const waiting = atOnce(5, order)
  expect((await system.orders.get('/health')).status).toBe(200)
  letGo()
  expect(statusCounts(await waiting)).toEqual({ 201: 5 })
  expect(await stockOf(system, product.id)).toBe(19)
})

it.each([
  ['is full', 'max_page_count = 1', 'max_page_count = 1073741823'],
  ['may not be written', 'query_only = 1', 'query_only = 0'],
])('while the file %s, then writes are 503, reads continue, and nothing is lost', async (_, breaking, mending) => {
  const product = await newProduct(system, { stock: 20 })
  const key = { headers: { 'idempotency-key': newKey() } }
  const orders = (count: number) => atOnce(count, () => system.orders.post('/orders', orderOf(product.id)))
  expect(statusCounts(await orders(3))).toEqual({ 201: 3 })
  await sql.raw(`pragma ${breaking}`).execute(system.db)
  onTestFinished(async () => void (await sql.raw(`pragma ${mending}`).execute(system.db)))
  await expect.poll(async () => (await orders(1))[0]?.status).toBe(503)
  const taken = 20 - (await stockOf(system, product.id))
  for (const response of await orders(5)) expectProblem(response, 503, 'unavailable')
  expectProblem(await system.orders.post('/orders', orderOf(product.id), key), 503, 'unavailable')
  expect(await stockOf(system, product.id)).toBe(20 - taken)
  await sql.raw(`pragma ${mending}`).execute(system.db)
  expect((await system.orders.post('/orders', orderOf(product.id), key)).status).toBe(201)
  expect(await stockOf(system, product.id)).toBe(19 - taken)
  expect(await auditBooks(system.db, system.env.orders)).toMatchObject({ balanced: true })
})

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

it('when the file is created, then only its owner may read it, its -wal and its -shm', async () => {
  const file = join(newFolder(), 'b2b.sqlite')
  const db = await openDatabase(parseEnv({ DB_FILE: file }).database)
  onTestFinished(() => db.destroy())
  await sql`create table t (a)`.execute(db)
  for (const path of [file, `${file}-wal`, `${file}-shm`]) expect(statSync(path).mode & 0o777).toBe(0o600)
})

it('when others could read the file, then a start makes it private', async () => {
  const file = join(newFolder(), 'b2b.sqlite')
  await (await openDatabase(parseEnv({ DB_FILE: file }).database)).destroy()
  chmodSync(file, 0o644)
  const db = await openDatabase(parseEnv({ DB_FILE: file }).database)
  onTestFinished(() => db.destroy())
  await sql`create table t (a)`.execute(db)
  for (const path of [file, `${file}-wal`, `${file}-shm`]) expect(statSync(path).mode & 0o777).toBe(0o600)
})

function refusal({ code, stdout, stderr }: Ended): string {
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
  expect(stderr).not.toMatch(/^\s+at /m)
  return stderr.trim()
}

const FREE_PORTS = { CUSTOMERS_PORT: '0', ORDERS_PORT: '0', ORCHESTRATOR_PORT: '0' }

it('when the file is damaged, then the start says so in one message', async () => {
  const DB_FILE = join(newFolder(), 'b2b.sqlite')
  expect((await runProgram('migrate', { DB_FILE })).code).toBe(0)
  // Everything but the file's header.
  const { size } = statSync(DB_FILE)
  const whole = new DatabaseSync(DB_FILE)
  whole.exec('pragma journal_mode = delete')
  whole.close()
  const copy = join(newFolder(), 'copy')
  copyFileSync(DB_FILE, copy)
  writeFileSync(copy, Buffer.alloc(size - 100, 0xff), { flag: 'r+' })
  const message = refusal(await runProgram('start', { ...FREE_PORTS, DB_FILE: copy }))
  expect(message).toContain(`The database ${copy} can't be used: `)
})

it('when a folder has the path of the file, then the start says so', async () => {
  const DB_FILE = join(newFolder(), 'b2b.sqlite')
  mkdirSync(DB_FILE, { mode: 0o755 })
  const message = refusal(await runProgram('start', { ...FREE_PORTS, DB_FILE }))
  expect(message).toBe(`The database ${DB_FILE} can't be used: unable to open database file\nCheck DB_FILE.`)
  expect(statSync(DB_FILE).mode & 0o777).toBe(0o755)
})

it('when another program locks the file, then the start says so in seconds', async () => {
  const DB_FILE = join(newFolder(), 'b2b.sqlite')
  expect((await runProgram('migrate', { DB_FILE })).code).toBe(0)
  const other = new DatabaseSync(DB_FILE)
  onTestFinished(() => other.close())
  other.exec('begin immediate')
  const message = refusal(await runProgram('start', { ...FREE_PORTS, DB_FILE }))
  expect(message).toBe(
    `The database ${DB_FILE} can't be used: another program holds the database file\nEnd the program that holds DB_FILE, or choose another file.`,
  )
})
