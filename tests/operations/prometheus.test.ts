import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { freePort } from '../../testing/database-server.ts'
import { listen } from '../../testing/listen.ts'
import { onSigusr2, runProgram } from '../../testing/programs.ts'
import {
  metricsIn,
  type Prometheus,
  RULES_FILE,
  readRules,
  runsPrometheus,
  shortenRules,
} from '../../testing/prometheus.ts'
import { newKey } from '../../testing/rows.ts'
import { startWatchedSystem, type WatchedSystem } from '../../testing/watched-system.ts'
import { LOOPBACK } from '../../testing/webhooks.ts'

// A real Prometheus scrapes the real services, with the committed rules in which time passes sixty times as fast: 5 minutes
// are 5 seconds. Each fault is a real one. Faults of one test come together, because each needs its time to be noticed.

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 })

const SPEED = 60
/** For how many seconds nothing may fire at first. */
const HEALTHY_SECONDS = 15
/** Until an alert must fire: its `for`, the window of its rates, and the 10 s for which gauges of the database are kept. */
const PATIENCE_MS = 45_000
const POLL = { timeout: PATIENCE_MS, interval: 250 }
const ALERTS = [...new Set(readRules().flatMap(({ alert }) => alert ?? []))]

const WEBHOOK_ALERTS = ['WebhooksPending', 'WebhookEndpointDisabled']

const DASHBOARD = 'ops/grafana/b2b-orders.json'
const RUNBOOKS = readFileSync('docs/operations.md', 'utf8')
/** The queries of the runbooks, each on a line of its own. */
const PRINTED = [...RUNBOOKS.matchAll(/```promql\n(.*?)```/gs)].flatMap(([, text = '']) => text.trim().split('\n'))

const VARIABLES = {
  ...LOOPBACK,
  // Few, so that a handful of callers reaches the limits.
  MAX_REQUESTS: '100',
  DB_POOL: '5',
  // After the one at the start, no sweep comes in this run.
  ORDER_SWEEP_SECONDS: '3600',
  ...onSigusr2('const end = Date.now() + 700; while (Date.now() < end) {}'),
}

describe.runIf(runsPrometheus() && inject('mysql') !== null)('Prometheus', () => {
  const system = useWatchedSystem()

  it('when callers order from the demo shop, then no alert fires, and none is without data', async () => {
    const { prometheus } = system
    const scrapes = () => latest(prometheus, 'min(count_over_time(up[10m]))')
    await expect.poll(scrapes, POLL).toBeGreaterThanOrEqual(HEALTHY_SECONDS)
    expect(await fired(prometheus)).toEqual([])
    expect(await prometheus.failedRules()).toEqual([])
    expect(await latest(prometheus, 'sum(service:http_served:rate5m)')).toBeGreaterThan(1)
    expect(await latest(prometheus, 'b2b_webhook_endpoints{status="disabled"}')).toBe(2)
  })

  it('when the database is away, then callers and gauges tell', async () => {
    await expectFiring(system.prometheus, ['AvailabilityBurnsFast', 'DatabaseGaugesAbsent'], async () => {
      system.network.leadTo({ host: '127.0.0.1', port: await freePort() })
      system.network.cut()
    })
    system.network.leadTo(system.server)
    await served(system)
  })

  it('when books, holds, feed, webhooks, stock and loop have faults, then each is told', async () => {
    const alerts = ['BooksUnbalanced', 'BooksUnchecked', 'HoldsOverdue', 'FeedLag', ...WEBHOOK_ALERTS]
    await expectFiring(system.prometheus, [...alerts, 'OrdersRefused', 'EventLoopSlow'], async () => {
      await spoilWebhooks(system)
      await forgetHold(system)
      await breakBooks(system)
      await refuseOrders(system)
      await blockFeed(system)
      again(1_500, () => ordersOf(system).kill('SIGUSR2'))
    })
  })

  it('when connections are lost at commits, then retries tell', async () => {
    await expectFiring(system.prometheus, ['TransactionRetries'], () =>
      again(200, () => system.network.watch({ texts: ['commit'], at: 'arrival', act: () => cutAll(system) })),
    )
  })

  it('when the database is slow and many call, then duration, pool and limits tell', async () => {
    onTestFinished(() => system.network.heal())
    await expectFiring(system.prometheus, ['OrdersSlow', 'DatabasePoolWait', 'RequestsRejected'], () => {
      system.network.heal()
      system.network.delay(400, Number.POSITIVE_INFINITY, ['responses'])
      again(100, () => system.callers.burst(20))
    })
  })

  it('when there were failures half an hour ago, then the slow burn has been told too', async () => {
    const slow = async () => (await fired(system.prometheus)).includes('AvailabilityBurnsSlowly')
    await expect.poll(slow, POLL).toBe(true)
  })

  it('when rules, dashboard and documents name a metric, then it was there', async () => {
    const known = new Set(await system.prometheus.metricNames())
    const texts = [...[RULES_FILE, DASHBOARD].map((file) => readFileSync(file, 'utf8')), RUNBOOKS]
    const named = new Set(texts.flatMap(metricsIn))
    expect(named.size).toBeGreaterThan(30)
    expect([...named].filter((name) => !known.has(name) && !known.has(`${name}_count`))).toEqual([])
  })

  it('when the dashboard or a runbook asks for something, then there is an answer', async () => {
    const { panels }: { panels: { targets?: { expr: string }[] }[] } = JSON.parse(readFileSync(DASHBOARD, 'utf8'))
    const asked = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    const queries = [
      ...asked.map((expr) => expr.replaceAll('$__rate_interval', '5s').replaceAll('$service', '.*')),
      ...PRINTED,
    ]
    const now = Date.now() / 1_000
    const answers = queries.map(async (query) => {
      const found = await system.prometheus.queryRange(query, { start: now - 300, end: now, step: 1 })
      return found.length === 0 ? [query] : []
    })
    expect(queries.length).toBeGreaterThan(45)
    expect((await Promise.all(answers)).flat()).toEqual([])
  })

  it('when the process ends, then somebody is woken up', async () => {
    await expectFiring(system.prometheus, ['ServiceDown'], () => ordersOf(system).kill('SIGKILL'))
    expect(await fired(system.prometheus)).toEqual([...ALERTS].sort())
  })
})

/** Starts the system before the suite and stops it afterwards. Use its members inside tests only. */
function useWatchedSystem(): WatchedSystem {
  const system = {} as WatchedSystem
  beforeAll(async () => {
    const server = inject('mysql')
    if (server === null) throw new Error('this run has no MySQL server')
    const rules = shortenRules(readFileSync(RULES_FILE, 'utf8'), SPEED)
    Object.assign(system, await startWatchedSystem(server, { rules, variables: VARIABLES }))
  })
  afterAll(() => system.stop())
  return system
}

/** The process of Orders. */
function ordersOf({ processes }: WatchedSystem): ChildProcess {
  const orders = processes.find(({ name }) => name === 'orders')
  if (orders === undefined) throw new Error('Orders does not run')
  return orders.child
}

/** The value of the only series; NaN while there is none. */
async function latest(prometheus: Prometheus, expr: string): Promise<number> {
  const [series] = await prometheus.query(expr)
  return Number(series?.values[0]?.[1] ?? Number.NaN)
}

/** The alerts that have fired so far. */
function fired(prometheus: Prometheus): Promise<string[]> {
  return alertsOf(prometheus, 'max_over_time(ALERTS{alertstate="firing"}[10m])')
}

async function alertsOf(prometheus: Prometheus, expr: string): Promise<string[]> {
  const all = await prometheus.query(`count by (alertname) (${expr})`)
  return all.map(({ metric }) => metric.alertname ?? '').sort()
}

/** Waits until none of these fires any more, makes their fault, and waits until each of them fires. */
async function expectFiring(
  prometheus: Prometheus,
  names: readonly string[],
  makeFault: () => unknown = () => {},
): Promise<void> {
  const firing = () => alertsOf(prometheus, 'ALERTS{alertstate="firing"}')
  const before = async () => (await firing()).filter((name) => names.includes(name))
  await expect.poll(before, { ...POLL, message: 'these alerts fire before their fault' }).toEqual([])
  await makeFault()
  const silent = new Set(names)
  const missing = async () => {
    for (const name of await firing()) silent.delete(name)
    return [...silent]
  }
  await expect.poll(missing, { ...POLL, message: 'these alerts do not fire' }).toEqual([])
}

/** Waits until the services reach their database again. */
async function served({ orders }: WatchedSystem): Promise<void> {
  const status = async () => (await orders.get('/products/1')).status
  await expect.poll(status, POLL).toBe(200)
}

/** Does it again and again, until the test ends. */
function again(pauseMs: number, work: () => unknown): void {
  const timer = setInterval(work, pauseMs)
  onTestFinished(() => clearInterval(timer))
}

function cutAll({ network }: WatchedSystem): 'pass' {
  network.cut()
  return 'pass'
}

/** One receiver wants nothing more, and another one has failed for two hours. */
async function spoilWebhooks(system: WatchedSystem): Promise<void> {
  const gone = await newEndpoint(system, 410)
  const failing = await newEndpoint(system, 500)
  const statusOf = async (id: number) => (await system.orders.get(`/webhook-endpoints/${id}`)).body.status
  await expect.poll(() => statusOf(gone), POLL).toBe('disabled')
  const session = await system.openSession()
  const age = 'update webhook_deliveries set created_at = utc_timestamp(3) - interval 2 hour where endpoint_id = ?'
  const aged = async () => JSON.stringify(await session.query(age, [failing]))
  await expect.poll(aged, POLL).toMatch(/"changedRows":[1-9]/)
}

/** @returns the id of an endpoint whose receiver answers with this status until the test ends */
async function newEndpoint({ orders }: WatchedSystem, status: number): Promise<number> {
  const receiver = createServer((_, response) => response.writeHead(status).end())
  onTestFinished(() => close(receiver))
  const url = `http://127.0.0.1:${await listen(receiver)}/`
  const { body } = await orders.post('/webhook-endpoints', { url, event_types: ['order.*'] })
  return body.id
}

function close(server: Server): void {
  server.close()
  server.closeAllConnections()
}

/** A hold that ended ten minutes ago, and that no sweep releases. */
async function forgetHold(system: WatchedSystem): Promise<void> {
  const { body } = await system.orders.post('/orders', { customer_id: 1, items: [{ product_id: 1, qty: 1 }] })
  const session = await system.openSession()
  await session.query('update orders set expires_at = utc_timestamp(3) - interval 10 minute where id = ?', [body.id])
}

/** Somebody takes a product off the shelf in the table. The audit that finds it was the last one for two days. */
async function breakBooks(system: WatchedSystem): Promise<void> {
  const session = await system.openSession()
  await session.query('update products set stock = stock - 1 where id = 2')
  const { code, stdout } = await runProgram('audit:books', system.database, ['--record'])
  expect({ code, stdout }).toEqual({ code: 1, stdout: expect.stringContaining('"product_id":2') })
  await session.query('update last_audit set checked_at = checked_at - interval 2 day')
}

/** Customers want a product that has no stock. */
async function refuseOrders({ orders }: WatchedSystem): Promise<void> {
  const { body } = await orders.post('/products', { sku: newKey(), name: 'Sold out', price_cents: 1, stock: 0 })
  const order = { customer_id: 1, items: [{ product_id: body.id, qty: 1 }] }
  again(100, () => orders.post('/orders', order).catch(() => undefined))
}

/** A session outside the services keeps the feed locked, and an event has waited for ten minutes. */
async function blockFeed(system: WatchedSystem): Promise<void> {
  const [locking, other] = [await system.openSession(), await system.openSession()]
  onTestFinished(async () => {
    await locking.query('rollback')
  })
  await locking.query('begin')
  await locking.query('select position from event_feed where id = 1 for update')
  const age = `update events set occurred_at = utc_timestamp(3) - interval 10 minute
    where position = 0 order by id limit 1`
  const aged = async () => JSON.stringify(await other.query(age))
  await expect.poll(aged, POLL).toContain('"changedRows":1')
}
