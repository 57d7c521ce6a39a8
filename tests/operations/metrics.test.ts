import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { sql } from 'kysely'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { SCOPES } from '../../src/compose/modules.ts'
import { signToken } from '../../src/identity/service.ts'
import type { Engine } from '../../src/platform/database/dialect.ts'
import { openDatabase } from '../../src/platform/database/open.ts'
import type { Database } from '../../src/platform/database/types.ts'
import { lockProduct } from '../../src/products/store.ts'
import type { ApiClient } from '../../testing/api-client.ts'
import { type Banner, readBanner } from '../../testing/banner.ts'
import { freePort } from '../../testing/database-server.ts'
import { newSecrets, type Variables } from '../../testing/fixture.ts'
import { familiesIn, type Scrape, scrape, untilValue, valueIn } from '../../testing/metrics.ts'
import { expectProblem } from '../../testing/problems.ts'
import {
  addressOf,
  freshDatabase,
  logged,
  migratedDatabase,
  onSigusr2,
  type Program,
  runProgram,
  startProgram,
  until,
} from '../../testing/programs.ts'
import { openProxy } from '../../testing/proxy.ts'
import { atOnce, newKey } from '../../testing/rows.ts'
import { describeEachEngine } from '../../testing/system.ts'
import { startReceiver } from '../../testing/webhook-receiver.ts'

const FREE_PORTS = { CUSTOMERS_PORT: '0', ORDERS_PORT: '0', ORCHESTRATOR_PORT: '0' }
const OPENMETRICS = 'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1'
const [, SECTION = ''] = /\n## Metrics\n(.*?)\n## /s.exec(readFileSync('docs/operations.md', 'utf8')) ?? []
/** The metrics that the document explains, each with its labels. */
const DOCUMENTED = [...SECTION.matchAll(/^\| `([a-z0-9_]+)` \| ([^|]*)\|.*\|$/gm)].map(
  ([, name = '', labels = '']) => ({
    name,
    labels: [...labels.matchAll(/`([a-z_]+)`/g)].map(([, label]) => label ?? '').sort(),
  }),
)

interface Watched extends Banner {
  program: Program
  variables: Variables
  db: Database
  /** Where the metrics are. */
  base: string
}

/** All services in one process, as `npm start` runs them, until the test ends. */
async function startAll(engine: Engine, own: Variables = {}): Promise<Watched> {
  const variables = { ...freshDatabase(engine), ...FREE_PORTS, ...own }
  const program = startProgram('start', variables)
  const banner = await readBanner(program)
  const db = await openDatabase(parseEnv(variables).database)
  onTestFinished(() => db.destroy())
  return { ...banner, program, variables, db, base: banner.orders.base }
}

async function addProduct(orders: ApiClient, stock: number): Promise<number> {
  const { status, body } = await orders.post('/products', { sku: newKey(), name: 'Any', price_cents: 100, stock })
  expect(status).toBe(201)
  return body.id
}

function place(
  orders: ApiClient,
  product_id: number,
  { qty = 1, key, ...fields }: Record<string, unknown> & { qty?: number; key?: string } = {},
) {
  const headers = key === undefined ? {} : { 'idempotency-key': key }
  return orders.post('/orders', { customer_id: 1, items: [{ product_id, qty }], ...fields }, { headers })
}

const CREATE_AND_CONFIRM = '/dev/orchestrator/create-and-confirm-order'

function orchestrate({ orchestrator }: Watched, product_id: number, idempotency_key: string) {
  return orchestrator.post(CREATE_AND_CONFIRM, { customer_id: 1, items: [{ product_id, qty: 1 }], idempotency_key })
}

/** What became of orders, as the metrics have it. */
function outcomesIn(page: Scrape) {
  const outcome = (name: string) => valueIn(page, 'b2b_orders_total', { outcome: name })
  return Object.fromEntries(
    ['placed', 'confirmed', 'canceled', 'expired', 'refused_stock', 'refused_credit', 'refused_other'].map((name) => [
      name,
      outcome(name),
    ]),
  )
}

describeEachEngine('metrics', (engine) => {
  it('when work is done, then every documented series is there, with its labels, and no other', async () => {
    const port = await freePort()
    const receiver = await startReceiver()
    const system = await startAll(engine, {
      CUSTOMERS_PORT: String(port),
      // Over HTTP, so that there are calls between services.
      CUSTOMERS_API_BASE: `http://127.0.0.1:${port}`,
    })
    const { orders, base, variables } = system
    const product = await addProduct(orders, 10)
    await orders.post('/webhook-endpoints', { url: receiver.url, event_types: ['order.*'] })
    const key = newKey()
    for (let i = 0; i < 2; i++) expect((await orchestrate(system, product, key)).status).toBe(201)
    expect((await runProgram('audit:books', variables, ['--record'])).code).toBe(0)
    const page = await untilValue(base, 'b2b_webhook_attempts_total', (value) => value === 1)
    const found = familiesIn(page).map((name) => ({ name, labels: labelsOf(page, name) }))
    expect(found).toEqual(DOCUMENTED.toSorted((a, b) => (a.name < b.name ? -1 : 1)))
  })

  it('when orders are placed, changed, refused and repeated, then each outcome is counted once', async () => {
    const system = await startAll(engine, { ORDER_SWEEP_SECONDS: '1' })
    const { orders, db, base } = system
    const product = await addProduct(orders, 10)
    const keys = [newKey(), newKey()] as const
    const { body: first } = await place(orders, product, { key: keys[0] })
    const { body: second } = await place(orders, product)
    const { body: held } = await place(orders, product)
    await place(orders, product, { confirm: true, key: newKey() })
    for (let i = 0; i < 3; i++) await orchestrate(system, product, keys[1])
    // Replays, and changes that change nothing.
    await place(orders, product, { key: keys[0] })
    for (let i = 0; i < 2; i++) {
      const headers = () => ({ headers: { 'idempotency-key': newKey() } })
      expect((await orders.post(`/orders/${first.id}/confirm`, undefined, headers())).status).toBe(200)
      expect((await orders.post(`/orders/${second.id}/cancel`, undefined, headers())).status).toBe(200)
    }
    // Refusals.
    expect((await place(orders, product, { qty: 1_000 })).status).toBe(409)
    expect((await place(orders, product, { customer_id: 999_999 })).status).toBe(422)
    expect((await place(orders, 999_999)).status).toBe(422)
    expect((await place(orders, product, { qty: 0 })).status).toBe(400)
    await orders.post('/orders/preview', { customer_id: 1, items: [{ product_id: product, qty: 1_000 }] })
    // A hold that ends, and is released by the sweep.
    await sql`update orders set expires_at = '2026-01-01 00:00:00.000' where id = ${held.id}`.execute(db)
    const page = await untilValue(base, 'b2b_orders_total', (value) => value === 1, { outcome: 'expired' })
    expect(outcomesIn(page)).toEqual({
      placed: 5,
      confirmed: 3,
      canceled: 1,
      expired: 1,
      refused_stock: 1,
      refused_credit: 0,
      refused_other: 2,
    })
    const replays = (operation: string) => valueIn(page, 'b2b_replays_total', { operation })
    expect([replays('placeOrder'), replays('createAndConfirmOrder')]).toEqual([1, 2])
  })

  it('when a batch fails as a whole and is split, then its orders are counted once', async () => {
    const { orders, db, base } = await startAll(engine)
    const [good, bad] = [await addProduct(orders, 1_000), await addProduct(orders, 1_000)]
    await breakLinesOf(engine, db, bad)
    let placed = 0
    await until(
      async () => {
        const all = await atOnce(8, (i) => place(orders, i === 3 ? bad : good))
        expect(all.map(({ status }) => status).filter((status) => status !== 201)).toEqual([500])
        placed += 7
        return valueIn(await scrape(base), 'b2b_batch_splits_total', { batcher: 'place' }) || undefined
      },
      () => 'no batch was split',
    )
    expect(outcomesIn(await scrape(base))).toMatchObject({ placed, refused_other: 0 })
  })

  it('when the gauges can not be read, then they are absent, and the rest of the page is there', async () => {
    const { base, db } = await startAll(engine)
    await sql`alter table last_audit rename to away`.execute(db)
    const page = await scrape(base)
    expect(page.status).toBe(200)
    for (const name of [
      'b2b_holds_open',
      'b2b_webhook_endpoints',
      'b2b_books_balanced',
      'b2b_events_unnumbered_age_seconds',
    ])
      expect({ name, value: valueIn(page, name) }).toEqual({ name, value: undefined })
    expect(valueIn(page, 'process_cpu_seconds_total')).toBeGreaterThan(0)
  })

  it('when a service is full, then a scrape takes no slot and is answered', async () => {
    const { orders, base, db } = await startAll(engine, { MAX_REQUESTS: '1', DB_LOCK_WAIT_MS: '20000' })
    const product = await addProduct(orders, 10)
    const release = await holdProduct(db, product)
    const waiting = place(orders, product)
    await untilValue(base, 'b2b_requests_in_flight', (value) => value === 1)
    expectProblem(await orders.get('/products'), 503, 'overloaded')
    const pages = await Promise.all(Array.from({ length: 5 }, () => scrape(base)))
    expect(pages.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
    expect(valueIn(pages[4] as Scrape, 'b2b_requests_rejected_total', { reason: 'max_requests' })).toBe(1)
    expect(
      valueIn(pages[4] as Scrape, 'http_server_request_duration_seconds_count', { http_response_status_code: '503' }),
    ).toBe(1)
    await release()
    expect((await waiting).status).toBe(201)
    await untilValue(base, 'b2b_requests_in_flight', (value) => value === 0)
  })
})

describe.each(inject('mysql') === null ? [] : ['MySQL'])('metrics of a silent %s', () => {
  it('when the database does not answer, then the page comes without its gauges', async () => {
    const variables = await migratedDatabase('mysql')
    const { host = '', port } = parseEnv(variables).database
    const proxy = await openProxy({ host, port })
    onTestFinished(() => proxy.close())
    const own = { PORT: '0', METRICS_PORT: '0', DB_HOST: proxy.host, DB_PORT: String(proxy.port) }
    const program = startProgram('start:orders', { ...variables, ...own })
    const { metrics } = await logged(program, ({ msg }) => msg === 'listening')
    proxy.swallow(60_000)
    const start = performance.now()
    const page = await scrape(`http://127.0.0.1:${metrics}`)
    expect(performance.now() - start).toBeLessThan(5_000)
    expect([page.status, valueIn(page, 'b2b_holds_open')]).toEqual([200, undefined])
    expect(valueIn(page, 'db_client_connection_count')).toBeGreaterThan(0)
    proxy.heal()
  })
})

/** The labels of a family, without those of its buckets. */
function labelsOf({ samples }: Scrape, family: string): string[] {
  const own = samples.filter(({ name }) => name === family || name === `${family}_count`)
  return [...new Set(own.flatMap(({ labels }) => Object.keys(labels)))].sort()
}

/** Makes every line of a product fail in the database. */
async function breakLinesOf(engine: Engine, db: Database, productId: number): Promise<void> {
  const body =
    engine === 'sqlite'
      ? `when new.product_id = ${productId} begin select raise(abort, 'broken'); end`
      : `begin if new.product_id = ${productId} then signal sqlstate '45000'; end if; end`
  await sql.raw(`create trigger broken before insert on order_items for each row ${body}`).execute(db)
}

/** Locks a product for others: on SQLite the whole file. @returns ends that */
async function holdProduct(db: Database, productId: number): Promise<() => Promise<void>> {
  const [locked, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const holding = db.transaction().execute(async (trx) => {
    await lockProduct(trx, productId)
    locked.resolve()
    await released.promise
  })
  await locked.promise
  return () => {
    released.resolve()
    return holding
  }
}

describe('who may read the metrics', () => {
  const TOKEN = randomBytes(32).toString('hex')
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

  /** An orchestrator alone, which needs no database. */
  async function startAlone(own: Variables = {}) {
    const program = startProgram('start:orchestrator', { PORT: '0', ...own })
    const base = await addressOf(program)
    return { program, base }
  }

  it('when nothing turns them on, then the path does not exist', async () => {
    const { base } = await startAlone()
    const { status, text } = await scrape(base)
    expect({ status, code: JSON.parse(text).code }).toEqual({ status: 404, code: 'route_not_found' })
  })

  it('when there is a token, then a scrape needs it, and each refusal is counted and logged', async () => {
    const { program, base } = await startAlone({ METRICS_TOKEN: TOKEN })
    const codeOf = async (headers: Record<string, string>) => {
      const { status, text, headers: sent } = await scrape(base, headers)
      return { status, code: JSON.parse(text).code, challenge: sent.get('www-authenticate') }
    }
    const none = { status: 401, code: 'unauthorized', challenge: 'Bearer realm="b2b-orders"' }
    const wrong = { status: 401, code: 'invalid_token', challenge: 'Bearer realm="b2b-orders", error="invalid_token"' }
    expect(await codeOf({})).toEqual(none)
    expect(await codeOf(bearer(`${TOKEN}x`))).toEqual(wrong)
    expect(await codeOf(bearer('internal123'))).toEqual(wrong)
    const page = await scrape(base, bearer(TOKEN))
    expect(page.status).toBe(200)
    expect(valueIn(page, 'b2b_requests_rejected_total', { reason: 'metrics_token' })).toBe(3)
    const line = await logged(program, ({ msg }) => msg === 'refused before an app saw it')
    expect(line).toMatchObject({ refused: { 401: 3 }, address: expect.stringMatching(/127\.0\.0\.1$/) })
  })

  it('when the token is rotated, then both are accepted', async () => {
    const old = randomBytes(32).toString('hex')
    const { base } = await startAlone({ METRICS_TOKEN: `${old}, ${TOKEN}` })
    const asked = [old, TOKEN, `${old}, ${TOKEN}`, ''].map((token) => scrape(base, bearer(token)))
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual([200, 200, 401, 401])
  })

  it('when there is a port for them, then they are there and nowhere else', async () => {
    const { program, base } = await startAlone({ METRICS_PORT: '0' })
    const { metrics } = await logged(program, ({ msg }) => msg === 'listening')
    const own = `http://127.0.0.1:${metrics}`
    expect((await scrape(own)).status).toBe(200)
    expect((await scrape(base)).status).toBe(404)
    const elsewhere = await fetch(`${own}/health`)
    expect([elsewhere.status, (await elsewhere.json()).code]).toEqual([404, 'route_not_found'])
  })

  it('when the port has a token too, then both are needed', async () => {
    const { program } = await startAlone({ METRICS_PORT: '0', METRICS_TOKEN: TOKEN })
    const { metrics } = await logged(program, ({ msg }) => msg === 'listening')
    expect((await scrape(`http://127.0.0.1:${metrics}`)).status).toBe(401)
    expect((await scrape(`http://127.0.0.1:${metrics}`, bearer(TOKEN))).status).toBe(200)
  })

  it('when they are posted to, then only reading is allowed', async () => {
    const { base } = await startAlone({ METRICS_TOKEN: TOKEN })
    const response = await fetch(`${base}/metrics`, { method: 'POST', headers: bearer(TOKEN) })
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    const head = await fetch(`${base}/metrics`, { method: 'HEAD', headers: bearer(TOKEN) })
    expect([head.status, await head.text()]).toEqual([200, ''])
  })

  it('when production has a short token, then it does not start', async () => {
    const production = {
      NODE_ENV: 'production',
      ...newSecrets(),
      CUSTOMERS_API_BASE: 'http://a',
      ORDERS_API_BASE: 'http://b',
    }
    const { code, stdout } = await runProgram('start:orchestrator', { ...production, METRICS_TOKEN: 'short' })
    expect({ code, stdout }).toEqual({ code: 1, stdout: expect.stringContaining('METRICS_TOKEN: must be at least 32') })
  })

  it('when npm start runs outside production, then its banner leads to the open page of all', async () => {
    const { text, base, customers, orchestrator } = await startAll('sqlite')
    const [, printed = ''] = /Metrics +(\S+)\/metrics\n/.exec(text) ?? []
    await orchestrator.get('/health')
    for (const at of [printed, base, customers.base]) {
      expect(valueIn(await scrape(at), 'http_server_request_duration_seconds_count', { http_route: '/health' })).toBe(1)
    }
  })

  it('when OpenMetrics is preferred, then it is sent, and plain text to all others', async () => {
    const { base } = await startAll('sqlite')
    const open = await scrape(base, { accept: OPENMETRICS })
    expect(open.headers.get('content-type')).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8')
    expect(open.text).toMatch(/\n# EOF\n$/)
    expect(open.text).toContain('# TYPE b2b_orders counter\n')
    for (const accept of ['*/*', 'text/html', 'text/plain;q=0.9,application/openmetrics-text;q=0.1']) {
      const plain = await scrape(base, { accept })
      expect(plain.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
      expect(plain.text).toContain('# TYPE b2b_orders_total counter\n')
      expect(familiesIn(plain)).toHaveLength(familiesIn(open).length)
    }
  })
})

describe('the metrics of the process', () => {
  it('when it works and then blocks, then its processor time, memory and longest delay are told', async () => {
    const block = onSigusr2('const begin = process.cpuUsage(); while (process.cpuUsage(begin).user < 400_000);')
    const program = startProgram('start:orchestrator', { PORT: '0', METRICS_PORT: '0', ...block })
    const { metrics } = await logged(program, ({ msg }) => msg === 'listening')
    const base = `http://127.0.0.1:${metrics}`
    const before = await scrape(base)
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
    expect(valueIn(before, 'b2b_build_info', { version })).toBe(1)
    expect(valueIn(before, 'process_resident_memory_bytes')).toBeGreaterThan(10_000_000)
    process.kill(program.pid, 'SIGUSR2')
    const after = await untilValue(base, 'nodejs_eventloop_delay_seconds', (value = 0) => value >= 0.35)
    const cpu = (page: Scrape) => valueIn(page, 'process_cpu_seconds_total') ?? Number.NaN
    expect(cpu(after) - cpu(before)).toBeGreaterThan(0.3)
  })
})

describe('what callers can do to the metrics', () => {
  it('when 10,000 of them send other paths, methods and names, then no series is added', async () => {
    const { orders, base, variables } = await startAll('sqlite', { LOG_LEVEL: 'error' })
    const { jwt } = parseEnv(variables)
    const random = () => `x${randomBytes(8).toString('hex')}`
    const paths = [
      () => `/${random()}`,
      () => `/orders/${random()}`,
      () => `/products?search=${random()}`,
      () => `/products?sku=${random()}`,
    ]
    const methods = ['GET', 'POST', 'DELETE', 'PROPFIND', 'PURGE', 'LINK', 'REPORT']
    const ask = async (i: number) => {
      const client = { clientId: random(), scope: SCOPES.join(' '), customerId: null }
      const { access_token: token } = await signToken({ ...jwt, ttlSeconds: 60 }, client)
      const headers = { 'x-correlation-id': random(), 'user-agent': random() }
      await orders.call(methods[i % methods.length] ?? 'GET', paths[i % paths.length]?.() ?? '/', { token, headers })
    }
    const seriesNow = async () =>
      (await scrape(base)).samples.map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`).sort()
    await atOnce(methods.length * paths.length, ask)
    const before = await seriesNow()
    for (let i = 0; i < 10_000; i += 100) await atOnce(100, (j) => ask(i + j))
    expect(await seriesNow()).toEqual(before)
    const page = await scrape(base)
    const requests = page.samples.filter(({ name }) => name === 'http_server_request_duration_seconds_count')
    expect(new Set(requests.map(({ labels }) => labels.http_request_method))).toEqual(
      new Set(['GET', 'POST', 'DELETE', '_OTHER']),
    )
    expect(requests.map(({ labels }) => labels.http_route)).toContain('unmatched')
    expect(requests.reduce((sum, { value }) => sum + value, 0)).toBeGreaterThanOrEqual(10_000)
  })

  it('when HTTP itself refuses a request, then it is counted by its reason and logged once a second', async () => {
    const { program, base } = await startAll('sqlite', { REQUEST_TIMEOUT_MS: '400' })
    const send = (text: string) => firstLineOf(base, text)
    expect(await send('NOT HTTP\r\n\r\n')).toMatch(/ 400 /)
    expect(await send(`GET / HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`)).toMatch(/ 431 /)
    expect(await send('POST /orders HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n')).toMatch(/ 408 /)
    const page = await scrape(base)
    const rejected = (reason: string) => valueIn(page, 'b2b_requests_rejected_total', { reason })
    expect(['malformed', 'headers_too_large', 'request_timeout'].map(rejected)).toEqual([1, 1, 1])
    await until(
      () => {
        const lines = program.log().filter(({ msg }) => msg === 'refused before an app saw it')
        const refused = lines.map((line) => line.refused as Record<string, number>)
        const sumOf = (status: string) => refused.reduce((sum, one) => sum + (one[status] ?? 0), 0)
        return [sumOf('400'), sumOf('431'), sumOf('408')].join() === '1,1,1' || undefined
      },
      () => program.stdout(),
    )
  })
})

/** Sends text over a connection of its own. @returns the status line of the response */
function firstLineOf(base: string, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(base).port), '127.0.0.1', () => socket.write(text))
    let received = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      received += chunk
      if (!received.includes('\r\n')) return
      socket.destroy()
      resolve(received.slice(0, received.indexOf('\r\n')))
    })
    socket.on('error', reject)
  })
}

describe.each(findPromtool())('the page by %s', (promtool) => {
  it('when it is checked, then nothing is found but a name that others chose', async () => {
    const system = await startAll('sqlite')
    await orchestrate(system, await addProduct(system.orders, 5), newKey())
    const { text } = await scrape(system.base)
    const { stdout, stderr } = spawnSync(promtool, ['check', 'metrics'], { input: text, encoding: 'utf8' })
    // The name is that of the semantic conventions.
    const known = 'db_client_connection_count non-histogram and non-summary metrics should not have "_count" suffix'
    expect(`${stdout}${stderr}`.trim().split('\n')).toEqual([known])
  })
})

/** Debian's package prometheus has it. CI always uses it, so that it fails where it is missing. */
function findPromtool(): string[] {
  const isThere = spawnSync('promtool', ['--version']).error === undefined
  return isThere || process.env.CI === 'true' ? ['promtool'] : []
}
