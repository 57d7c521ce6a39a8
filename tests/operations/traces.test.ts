import { randomBytes } from 'node:crypto'
import { describe, expect, it, vi } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { type ApiClient, apiClient } from '../../testing/api-client.ts'
import { LOOPBACK } from '../../testing/deployment.ts'
import { tokenFor, type Variables } from '../../testing/fixture.ts'
import { type CollectedSpan, type Collector, startCollector } from '../../testing/otlp-collector.ts'
import {
  addressOf,
  freshDatabase,
  logged,
  onSigusr2,
  type Program,
  startProgram,
  until,
} from '../../testing/programs.ts'
import { newKey } from '../../testing/rows.ts'
import { nowhere } from '../../testing/services.ts'
import { describeEachEngine } from '../../testing/system.ts'
import { startReceiver } from '../../testing/webhook-receiver.ts'

vi.setConfig({ testTimeout: 60_000 })

const CREATE_AND_CONFIRM = '/orchestrator/create-and-confirm-order'
const PLACEMENTS = '/internal/orders/placements'
/** The service token outside production. */
const SERVICE_TOKEN = 'internal123'
/** No trace is recorded by chance: only those that a caller asks for. */
const ON_DEMAND = { OTEL_TRACES_SAMPLER_ARG: '0' }
const ALWAYS = { OTEL_TRACES_SAMPLER_ARG: '1' }

interface Service {
  program: Program
  api: ApiClient
}

async function startService(name: 'customers' | 'orders' | 'orchestrator', variables: Variables): Promise<Service> {
  const program = startProgram(`start:${name}`, { PORT: '0', ...variables })
  return { program, api: apiClient(await addressOf(program), await tokenFor('tests', parseEnv({}))) }
}

/** Orders alone: it needs Customers only for orders that come without a validated customer. */
async function startOrders(variables: Variables): Promise<Service> {
  return startService('orders', { CUSTOMERS_API_BASE: await nowhere(), ...freshDatabase('sqlite'), ...variables })
}

/** All three, of which each knows where the others are. */
async function startServices(database: Variables, collector: Collector) {
  const traced = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...ON_DEMAND }
  const customers = await startService('customers', { ...traced, ...database })
  const CUSTOMERS_API_BASE = customers.api.base
  const orders = await startService('orders', { ...traced, ...database, CUSTOMERS_API_BASE })
  const bases = { CUSTOMERS_API_BASE, ORDERS_API_BASE: orders.api.base }
  const orchestrator = await startService('orchestrator', { ...traced, ...bases })
  return { customers, orders, orchestrator, stopAll: () => stop(orchestrator, orders, customers) }
}

/** The context of a caller. */
function newCaller(flags: '00' | '01') {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')]
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-${flags}` }
}

/** Sends the last spans, too. */
async function stop(...services: Service[]): Promise<void> {
  for (const { program } of services) expect(await program.stop()).toMatchObject({ code: 0 })
}

function only(spans: readonly CollectedSpan[], wanted: Partial<CollectedSpan>): CollectedSpan {
  const found = spans.filter((span) => Object.entries(wanted).every(([key, value]) => Reflect.get(span, key) === value))
  expect(found, JSON.stringify(wanted)).toHaveLength(1)
  const [span] = found
  if (span === undefined) throw new Error('no such span')
  return span
}

function childrenOf(spans: readonly CollectedSpan[], parent: CollectedSpan): CollectedSpan[] {
  return spans.filter(({ traceId, parentSpanId }) => traceId === parent.traceId && parentSpanId === parent.spanId)
}

const isSame = (a: { spanId: string }) => (b: { spanId: string }) => a.spanId === b.spanId
const contextOf = ({ traceId, spanId }: CollectedSpan) => ({ traceId, spanId })

/** Places and confirms an order with the service token, as the orchestrator does for several callers at once. */
function callFor(caller: { traceparent: string }, product_id: number) {
  const customer = { id: 1, name: 'ACME Corp', email: 'ops@acme.com', phone: null }
  return {
    key: newKey(),
    on_behalf_of: 'client:tests',
    order: { customer_id: 1, items: [{ product_id, qty: 1 }], customer },
    correlation_id: `of-${caller.traceparent.slice(3, 11)}`,
    traceparent: caller.traceparent,
  }
}

describeEachEngine('an orchestrated order', (engine) => {
  async function placeOne(collector: Collector) {
    const { customers, orders, orchestrator, stopAll } = await startServices(freshDatabase(engine), collector)
    const caller = newCaller('01')
    const headers = { traceparent: caller.traceparent, 'x-correlation-id': 'traced-1', 'idempotency-key': newKey() }
    const order = { customer_id: 1, items: [{ product_id: 1, qty: 2 }] }
    // Without a token, no client's status is looked up.
    const response = await orchestrator.api.post(CREATE_AND_CONFIRM, order, { headers, token: null })
    expect(response.status).toBe(201)
    await stopAll()
    return { caller, lines: [orchestrator, orders, customers].map(({ program }) => program.log()), key: headers }
  }

  it('when three processes do it, then it is one trace, and the batch is linked both ways', async () => {
    const collector = await startCollector()
    const { caller, lines, key } = await placeOne(collector)
    const { spans } = collector
    const ofCaller = spans.filter(({ traceId }) => traceId === caller.traceId)

    const request = only(ofCaller, { service: 'orchestrator', kind: 'server' })
    expect(request).toMatchObject({ name: `POST ${CREATE_AND_CONFIRM}`, parentSpanId: caller.spanId, failed: false })
    expect(request.attributes).toMatchObject({
      'http.request.method': 'POST',
      'http.route': CREATE_AND_CONFIRM,
      'http.response.status_code': 201,
      'b2b.correlation_id': 'traced-1',
    })

    const lookup = only(ofCaller, { service: 'orchestrator', kind: 'client', name: 'GET customers' })
    const placement = only(ofCaller, { service: 'orchestrator', kind: 'client', name: 'POST orders' })
    for (const call of [lookup, placement]) expect(call.parentSpanId).toBe(request.spanId)
    expect(only(ofCaller, { service: 'customers', kind: 'server' }).parentSpanId).toBe(lookup.spanId)
    const placing = only(ofCaller, { service: 'orders', kind: 'server' })
    expect(placing).toMatchObject({ name: `POST ${PLACEMENTS}`, parentSpanId: placement.spanId })

    const command = only(ofCaller, { service: 'orders', name: 'orders.place' })
    expect(command.parentSpanId).toBe(placing.spanId)
    const batch = only(spans, { service: 'orders', name: 'orders.batch' })
    expect(batch).toMatchObject({ parentSpanId: undefined, links: [contextOf(command)] })
    expect(batch.traceId).not.toBe(caller.traceId)
    expect(batch.attributes).toMatchObject({ 'b2b.batcher': 'place', 'b2b.batch.size': 1 })
    expect(command.links).toEqual([contextOf(batch)])
    expect(command.attributes).toMatchObject({
      'b2b.batch.trace_id': batch.traceId,
      'b2b.batch.span_id': batch.spanId,
    })

    const [transaction, ...more] = childrenOf(spans, batch)
    expect({ name: transaction?.name, more }).toEqual({ name: 'transaction', more: [] })
    const trips = transaction === undefined ? [] : childrenOf(spans, transaction)
    expect(trips.at(-1)?.name).toMatch(/commit$/)
    for (const statement of ['select products', 'insert orders', 'insert order_items', 'insert events']) {
      expect(trips.map(({ name }) => name).join()).toContain(statement)
    }
    // Any batch takes three round trips.
    if (engine === 'mysql') expect(trips).toHaveLength(3)
    expect(new Set(trips.map(({ attributes }) => attributes['db.system.name']))).toEqual(new Set([engine]))
    expect(spans).toHaveLength(ofCaller.length + 2 + trips.length)

    const told = JSON.stringify(spans.map(({ name, attributes, events }) => [name, attributes, events]))
    for (const kept of ['ACME', 'acme.com', 'LAP-15', key['idempotency-key']]) expect(told).not.toContain(kept)
    const [ofOrchestrator = []] = lines
    const line = ofOrchestrator.find(({ msg }) => msg === 'request')
    expect(line).toMatchObject({ trace_id: caller.traceId, span_id: request.spanId, correlation_id: 'traced-1' })
    for (const log of lines) {
      const requests = log.filter(({ msg, correlation_id }) => msg === 'request' && correlation_id === 'traced-1')
      expect(requests.map(({ trace_id }) => trace_id)).toEqual(requests.map(() => caller.traceId))
    }
  })
})

describe('several callers in one batch', () => {
  it('when one of them is not recorded, then it is in no span, and no caller sees another one', async () => {
    const collector = await startCollector()
    const orders = await startOrders({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...ON_DEMAND })
    const [one, hidden, other] = [newCaller('01'), newCaller('00'), newCaller('01')]
    const calls = [callFor(one, 1), callFor(hidden, 2), callFor(other, 3)]
    const response = await orders.api.post(PLACEMENTS, { calls }, { token: SERVICE_TOKEN })
    expect(response.body.results).toMatchObject([{ status: 201 }, { status: 201 }, { status: 201 }])
    await stop(orders)

    const { spans } = collector
    const commands = [one, other].map(({ traceId }) => only(spans, { traceId, name: 'orders.place' }))
    const batch = only(spans, { name: 'orders.batch' })
    expect(batch.attributes).toMatchObject({ 'b2b.batch.size': 3 })
    expect(batch.links).toEqual(commands.map(contextOf))
    for (const command of commands) expect(command.links).toEqual([contextOf(batch)])
    for (const { traceId, spanId } of [one, other]) {
      const own = spans.filter((span) => span.traceId === traceId)
      expect(own.map(({ name }) => name).sort()).toEqual([`call ${PLACEMENTS}`, 'orders.place'])
      expect(only(own, { name: `call ${PLACEMENTS}` }).parentSpanId).toBe(spanId)
    }
    for (const part of [hidden.traceId, hidden.spanId]) expect(JSON.stringify(spans)).not.toContain(part)
    const ofHidden = orders.program.log().filter(({ msg, trace_id }) => msg === 'call' && trace_id === hidden.traceId)
    expect(ofHidden).toMatchObject([{ status: 201 }])
    expect(ofHidden[0]).not.toHaveProperty('span_id')
  })

  it('when they come through the orchestrator at once, then each has one whole trace', async () => {
    const collector = await startCollector()
    const { orchestrator, stopAll } = await startServices({ ...freshDatabase('sqlite') }, collector)
    const callers = Array.from({ length: 12 }, (_, i) => newCaller(i % 3 === 0 ? '00' : '01'))
    const order = { customer_id: 1, items: [{ product_id: 1, qty: 1 }] }
    const placing = callers.map(({ traceparent }) =>
      orchestrator.api.post(CREATE_AND_CONFIRM, order, { headers: { traceparent }, token: null }),
    )
    for (const { status } of await Promise.all(placing)) expect(status).toBe(201)
    await stopAll()

    const { spans } = collector
    for (const { traceId, spanId, traceparent } of callers) {
      if (traceparent.endsWith('00')) {
        for (const part of [traceId, spanId]) expect(JSON.stringify(spans)).not.toContain(part)
        continue
      }
      const own = spans.filter((span) => span.traceId === traceId)
      const request = only(own, { service: 'orchestrator', kind: 'server' })
      expect(request.parentSpanId).toBe(spanId)
      const placement = only(own, { name: 'POST orders' })
      expect(placement.parentSpanId).toBe(request.spanId)
      const arrival = only(own, { service: 'orders', kind: 'server' })
      expect(arrival.parentSpanId).toBe(placement.spanId)
      const command = only(own, { name: 'orders.place' })
      expect(command.parentSpanId).toBe(arrival.spanId)
      const batches = spans.filter(({ name, links }) => name === 'orders.batch' && links.some(isSame(command)))
      expect(command.links).toEqual(batches.map(contextOf))
      expect(batches).toHaveLength(1)
    }
  })

  it('when none of them is recorded, then the batch is not either', async () => {
    const collector = await startCollector()
    const orders = await startOrders({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...ON_DEMAND })
    const calls = [callFor(newCaller('00'), 1), callFor(newCaller('00'), 2)]
    expect(await orders.api.post(PLACEMENTS, { calls }, { token: SERVICE_TOKEN })).toMatchObject({ status: 200 })
    await stop(orders)
    expect(collector.spans).toEqual([])
  })
})

describe('a webhook', () => {
  it('when it is sent, then the attempt is linked to the request that led to it', async () => {
    const collector = await startCollector()
    const receiver = await startReceiver()
    const orders = await startOrders({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...ON_DEMAND, ...LOOPBACK })
    const endpoint = { url: receiver.url, event_types: ['product.*'] }
    expect(await orders.api.post('/webhook-endpoints', endpoint)).toMatchObject({ status: 201 })
    const { traceId, traceparent } = newCaller('01')
    const product = { sku: 'TRACED', name: 'Traced', price_cents: 100, stock: 1 }
    expect(await orders.api.post('/products', product, { headers: { traceparent } })).toMatchObject({ status: 201 })
    expect(await orders.api.post('/products', { ...product, sku: 'OTHER' })).toMatchObject({ status: 201 })
    await until(
      () => (receiver.received.length === 2 ? true : undefined),
      () => `the receiver got ${receiver.received.length} webhooks\n${orders.program.stdout()}`,
    )
    await stop(orders)

    const request = only(collector.spans, { traceId, name: 'POST /products' })
    const attempt = only(collector.spans, { name: 'webhook attempt' })
    expect(attempt).toMatchObject({ kind: 'client', parentSpanId: undefined, links: [contextOf(request)] })
    expect(attempt.attributes).toEqual({ 'http.request.method': 'POST', 'http.response.status_code': 200 })
    expect(attempt.traceId).not.toBe(traceId)
    for (const { headers } of receiver.received) expect(headers).not.toHaveProperty('traceparent')
  })
})

describe('which traces are recorded', () => {
  it('when chance decides for all, then a request is, and its trace is not when the caller’s is not', async () => {
    const collector = await startCollector()
    const orders = await startOrders({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...ALWAYS })
    const { traceId, traceparent } = newCaller('00')
    expect(await orders.api.get('/products', { headers: { traceparent } })).toMatchObject({ status: 200 })
    expect(await orders.api.get('/products/999999')).toMatchObject({ status: 404 })
    expect(await orders.api.get('/health')).toMatchObject({ status: 200 })
    await stop(orders)
    const request = only(collector.spans, { kind: 'server' })
    expect(request).toMatchObject({ name: 'GET /products/:id', parentSpanId: undefined, failed: false })
    expect(JSON.stringify(collector.spans)).not.toMatch(new RegExp(`999999|${traceId}`))
  })

  it('when chance decides for none, then a request without a caller is not', async () => {
    const collector = await startCollector()
    const orders = await startOrders({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...ON_DEMAND })
    expect(await orders.api.get('/products', { headers: { 'x-correlation-id': 'by-chance' } })).toMatchObject({
      status: 200,
    })
    await stop(orders)
    expect(collector.spans).toEqual([])
    const line = orders.program.log().find(({ correlation_id }) => correlation_id === 'by-chance')
    for (const field of ['trace_id', 'span_id']) expect(line).not.toHaveProperty(field)
  })

  it('when a request fails, then its span has failed, with its code', async () => {
    const collector = await startCollector()
    const orders = await startOrders({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...ALWAYS })
    const order = { customer_id: 1, items: [{ product_id: 1, qty: 1 }] }
    expect(await orders.api.post('/orders', order)).toMatchObject({ status: 503 })
    await stop(orders)
    const request = only(collector.spans, { kind: 'server' })
    expect(request).toMatchObject({ failed: true, attributes: { 'error.type': 'unavailable' } })
    const attempts = childrenOf(collector.spans, request).sort((a, b) => a.startMs - b.startMs)
    expect(attempts.map(({ name, failed }) => ({ name, failed }))).toEqual(
      Array(4).fill({ name: 'GET customers', failed: true }),
    )
    expect(attempts.map(({ attributes }) => attributes['http.request.resend_count'])).toEqual([undefined, 1, 2, 3])
  })
})

describe('the collector', () => {
  it('when it asks for a key, then it gets it', async () => {
    const collector = await startCollector()
    const headers = { OTEL_EXPORTER_OTLP_HEADERS: 'api-key=one%20two' }
    const orders = await startOrders({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...ALWAYS, ...headers })
    await orders.api.get('/products')
    await stop(orders)
    expect(collector.headers).toMatchObject([{ 'api-key': 'one two' }])
    expect(orders.program.stdout()).not.toContain('one two')
  })

  it('when spans ended, then they are sent without a stop', async () => {
    const collector = await startCollector()
    const orders = await startOrders({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...ALWAYS })
    await orders.api.get('/products')
    await collector.waitFor((spans) => spans.some(({ name }) => name === 'GET /products'))
  })

  it('when it is away, then requests are served, one line says so, and the stop ends', async () => {
    const orders = await startOrders({ OTEL_EXPORTER_OTLP_ENDPOINT: await nowhere(), ...ALWAYS })
    for (let i = 0; i < 20; i++) expect(await orders.api.get('/products')).toMatchObject({ status: 200 })
    await stop(orders)
    const lost = orders.program.log().filter(({ event }) => event === 'traces_lost')
    expect(lost).toMatchObject([{ level: 'warn', spans: 20 }])
  })

  it.each([
    ['refuses', 400],
    ['never answers', undefined],
  ])('when it %s, then requests are served, and the stop ends', async (_, status) => {
    const collector = await startCollector()
    collector.status = status
    const orders = await startOrders({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...ALWAYS })
    for (let i = 0; i < 20; i++) expect(await orders.api.get('/products')).toMatchObject({ status: 200 })
    await stop(orders)
    expect(collector.headers.length).toBeGreaterThan(0)
    expect(orders.program.log().filter(({ event }) => event === 'traces_lost')).toMatchObject([{ spans: 20 }])
  })
})

describe('what is loaded', () => {
  const TELL = `import('node:module').then(({ default: { _cache } }) =>
    console.log(JSON.stringify({ msg: 'loaded', files: Object.keys(_cache).filter((file) => file.includes('opentelemetry')).length })))`

  async function filesLoaded(variables: Variables): Promise<unknown> {
    const { program } = await startOrders({ ...variables, ...onSigusr2(TELL) })
    process.kill(program.pid, 'SIGUSR2')
    return (await logged(program, ({ msg }) => msg === 'loaded')).files
  }

  it('when no collector is configured, then nothing of OpenTelemetry is in memory', async () => {
    expect(await filesLoaded({})).toBe(0)
  })

  it('when a collector is configured, then the SDK is', async () => {
    expect(await filesLoaded({ OTEL_EXPORTER_OTLP_ENDPOINT: await nowhere() })).toBeGreaterThan(10)
  })

  it('when no collector is configured, then the caller’s trace is in the log, and passed on as it came', async () => {
    const orders = await startOrders({})
    const { traceId, traceparent } = newCaller('01')
    await orders.api.get('/products', { headers: { traceparent, 'x-correlation-id': 'off' } })
    const line = await logged(orders.program, ({ correlation_id }) => correlation_id === 'off')
    expect(line).toMatchObject({ trace_id: traceId })
    expect(line).not.toHaveProperty('span_id')
  })
})
