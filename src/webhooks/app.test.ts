import { describe, expect, it, onTestFinished } from 'vitest'
import type { ApiRequest } from '../../testing/api-client.ts'
import { forgedCursor, idsOf, readPages } from '../../testing/lists.ts'
import { expectFaults, expectProblem } from '../../testing/problems.ts'
import { newCustomer, newKey, newOrder, newProduct } from '../../testing/rows.ts'
import { nowhere, serveOrders } from '../../testing/services.ts'
import { describeEachEngine, type TestSystem, useSystem } from '../../testing/system.ts'
import type { Received } from '../../testing/webhook-receiver.ts'
import {
  attemptsOf,
  deleteAfterTest,
  deliveriesOf,
  LOOPBACK,
  loseNextCommit,
  newEndpoint,
  passRetryPauses,
} from '../../testing/webhooks.ts'

const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
const SECRET = expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/)
const NOBODY = 9_007_199_254_740_991
const PATH = '/webhook-endpoints'
const NEW = { url: 'http://127.0.0.1:9/hook', event_types: ['order.*'] }

function keyed(key = newKey()): { headers: Record<string, string> } {
  return { headers: { 'idempotency-key': key } }
}

function ifMatch(tag: string): ApiRequest {
  return { headers: { 'if-match': tag } }
}

/** Creates an endpoint to which nothing need be sent, until the test ends. */
async function createEndpoint(system: TestSystem, fields: Record<string, unknown> = {}, request: ApiRequest = {}) {
  const response = await system.orders.post(PATH, { ...NEW, ...fields }, request)
  if (response.status === 201) deleteAfterTest(system, response.body.id)
  return response
}

async function orderWith(system: TestSystem, changes: ('confirm' | 'cancel')[], fields = {}) {
  const product = await newProduct(system)
  const order = await newOrder(system, [{ product_id: product.id, qty: 1 }], fields)
  for (const change of changes) await system.orders.post(`/orders/${order.id}/${change}`, undefined, keyed())
  return order
}

const shown = (received: Received[]) => received.map(({ event }) => [event.type, event.resource.version])

describeEachEngine('webhook endpoints', (engine) => {
  const system = useSystem(engine, LOOPBACK)
  const api = () => system.orders

  async function storedTexts(endpointId: number): Promise<string> {
    const rows = await system.db.selectFrom('webhook_endpoints').selectAll().where('id', '=', endpointId).execute()
    const keys = await system.db
      .selectFrom('idempotency_keys')
      .selectAll()
      .where('target_type', '=', 'webhook_endpoint')
      .execute()
    return JSON.stringify([rows, keys, system.log])
  }

  describe('POST /webhook-endpoints', () => {
    it('when one is created, then 201 with Location, ETag and its secret', async () => {
      const { id } = await newCustomer(system)
      const fields = {
        description: ' Orders to the ERP ',
        customer_id: id,
        event_types: ['order.*', 'product.updated'],
      }
      const response = await createEndpoint(system, fields)
      expect(response.status).toBe(201)
      expect(response.headers.get('location')).toBe(`webhook-endpoints/${response.body.id}`)
      expect(response.headers.get('etag')).toBe('"1"')
      expect(response.headers.get('idempotent-replayed')).toBeNull()
      expect(response.headers.get('cache-control')).toBe('no-store')
      expect(response.body).toEqual({
        id: expect.any(Number),
        url: NEW.url,
        description: 'Orders to the ERP',
        event_types: ['order.*', 'product.updated'],
        customer_id: id,
        status: 'enabled',
        disabled_reason: null,
        paused_until: null,
        last_success_at: null,
        old_secret_until: null,
        created_at: TIME,
        updated_at: response.body.created_at,
        version: 1,
        secret: SECRET,
      })
      const { secret, ...endpoint } = response.body
      const read = await api().get(`/${response.headers.get('location')}`)
      expect({ body: read.body, etag: read.headers.get('etag') }).toEqual({ body: endpoint, etag: '"1"' })
      expect(await storedTexts(endpoint.id)).not.toContain(secret.slice('whsec_'.length))
    })

    it('when it is sent again with its key, then all but the secret comes again', async () => {
      const key = keyed()
      const first = await createEndpoint(system, {}, key)
      const again = await api().post(PATH, NEW, key)
      expect(again.status).toBe(201)
      expect(again.body).toEqual({ ...first.body, secret: null })
      expect(again.headers.get('idempotent-replayed')).toBe('true')
      for (const name of ['location', 'etag']) expect(again.headers.get(name)).toBe(first.headers.get(name))
      expectProblem(await api().post(PATH, { ...NEW, event_types: ['*'] }, key), 422, 'idempotency_key_reused')
    })

    it('when the answer of the commit is lost, then the secret is shown all the same', async () => {
      loseNextCommit(system.db)
      const { receiver, endpoint } = await newEndpoint(system)
      expect(endpoint.secret).toEqual(SECRET)
      await api().post(`${PATH}/${endpoint.id}/ping`)
      receiver.verifyAll(endpoint.secret)
    })

    it('when two come at once with one key, then one endpoint, and one of them has the secret', async () => {
      const key = keyed()
      const both = await Promise.all([createEndpoint(system, {}, key), createEndpoint(system, {}, key)])
      expect(new Set(both.map(({ body }) => body.id)).size).toBe(1)
      expect(both.map(({ body }) => body.secret).filter(Boolean)).toEqual([SECRET])
    })

    it('when the body is wrong, then each fault is named', async () => {
      expectFaults(await api().post(PATH, {}), ['url', 'event_types'])
      const wrong = {
        url: 5,
        event_types: ['order.eaten'],
        description: 'a\nb',
        customer_id: 0,
        secret: 'x',
        status: 'enabled',
      }
      expectFaults(await api().post(PATH, wrong), [
        'url',
        'event_types.0',
        'description',
        'customer_id',
        'secret',
        'status',
      ])
      const long = { url: `http://127.0.0.1/${'a'.repeat(2048)}`, event_types: [], description: 'a'.repeat(501) }
      expectFaults(await api().post(PATH, long), ['url', 'event_types', 'description'])
      expectFaults(await api().post(PATH, { ...NEW, url: '' }), ['url'])
    })

    it('when a field is null, then it is absent', async () => {
      const { status, body } = await createEndpoint(system, { description: null, customer_id: null })
      expect({ status, ...body }).toMatchObject({ status: 'enabled', description: null, customer_id: null })
    })

    it('when the customer is missing or deleted, then 422', async () => {
      const { id } = await newCustomer(system)
      await system.customers.delete(`/customers/${id}`)
      for (const customer_id of [NOBODY, id]) {
        expectProblem(await createEndpoint(system, { customer_id }), 422, 'customer_not_found')
      }
    })

    it('when more than 50 are made for a customer at once, then 50 are, until one is deleted', async () => {
      const { id: customer_id } = await newCustomer(system)
      const responses = await Promise.all(Array.from({ length: 60 }, () => createEndpoint(system, { customer_id })))
      const created = responses.filter(({ status }) => status === 201)
      expect(created).toHaveLength(50)
      const refused = await createEndpoint(system, { customer_id })
      expectProblem(refused, 409, 'too_many_endpoints')
      expect(refused.body).toMatchObject({ max_endpoints: 50 })
      expect((await createEndpoint(system)).status).toBe(201)
      await api().delete(`${PATH}/${created[0]?.body.id}`)
      expect((await createEndpoint(system, { customer_id })).status).toBe(201)
    })

    it('when events are older than the endpoint, then they are not sent to it', async () => {
      await orderWith(system, ['confirm'])
      const { receiver } = await newEndpoint(system)
      await system.dispatch()
      expect(receiver.received).toEqual([])
    })
  })

  describe('reading', () => {
    it('when endpoints are listed, then page by page, ascending, and never a secret', async () => {
      const created = await Promise.all([1, 2, 3].map(() => createEndpoint(system)))
      const rows = await readPages(api(), `${PATH}?limit=2`)
      const ids = idsOf(created.map(({ body }) => body)).toSorted((a, b) => a - b)
      expect(idsOf(rows).filter((id) => ids.includes(id))).toEqual(ids)
      expect(idsOf(rows)).toEqual(idsOf(rows).toSorted((a, b) => a - b))
      for (const row of rows) expect(row).not.toHaveProperty('secret')
    })

    it('when it names nothing, then 404, and a wrong id is 400', async () => {
      expectProblem(await api().get(`${PATH}/${NOBODY}`), 404, 'not_found')
      expectProblem(await api().get(`${PATH}/0`), 400, 'invalid_id')
      expectProblem(await api().get(`/webhook-deliveries/${NOBODY}`), 404, 'not_found')
      expectProblem(await api().get(`${PATH}/${NOBODY}/deliveries`), 404, 'not_found')
    })

    it('when a query is wrong, then each fault is named', async () => {
      const { body } = await createEndpoint(system)
      expectFaults(await api().get(`${PATH}?limit=0&x=1`), ['limit', 'x'])
      expectFaults(await api().get(`${PATH}?cursor=${forgedCursor('orders', 1)}`), ['cursor'])
      const wrong = '?limit=101&status=gone&from=yesterday&to=now'
      expectFaults(await api().get(`${PATH}/${body.id}/deliveries${wrong}`), ['limit', 'status', 'from', 'to'])
      const cursors = [forgedCursor('webhook_endpoints', 1), forgedCursor('webhook_deliveries', 'x', 1), '%00']
      for (const cursor of cursors) {
        expectFaults(await api().get(`${PATH}/${body.id}/deliveries?cursor=${cursor}`), ['cursor'])
      }
      expect((await api().get(`${PATH}/${body.id}/deliveries?status=&from=&cursor=`)).status).toBe(200)
    })
  })

  describe('PATCH /webhook-endpoints/:id', () => {
    it('when fields are changed, then these alone, and the version rises', async () => {
      const { body: before } = await createEndpoint(system, { description: 'one' })
      const { secret: _, ...shownBefore } = before
      const changes = [
        [{ description: ' two ' }, { description: 'two' }],
        [{ event_types: ['*'] }, { event_types: ['*'] }],
        [{ url: 'http://127.0.0.1:9/other' }, { url: 'http://127.0.0.1:9/other' }],
        [{ description: '' }, { description: null }],
      ] as const
      let expected = shownBefore
      for (const [change, effect] of changes) {
        const response = await api().patch(`${PATH}/${before.id}`, change)
        expected = { ...expected, ...effect, version: expected.version + 1, updated_at: response.body.updated_at }
        expect({ status: response.status, body: response.body }).toEqual({ status: 200, body: expected })
        expect(response.headers.get('etag')).toBe(`"${expected.version}"`)
      }
      expect((await api().get(`${PATH}/${before.id}`)).body).toEqual(expected)
    })

    it('when If-Match names another version, then 412 and nothing changes', async () => {
      const { body } = await createEndpoint(system)
      const path = `${PATH}/${body.id}`
      expectProblem(await api().patch(path, { description: 'x' }, ifMatch('"2"')), 412, 'precondition_failed')
      expect((await api().patch(path, { description: 'x' }, ifMatch('"1"'))).body).toMatchObject({ version: 2 })
      expectProblem(await api().patch(path, { description: 'y' }, ifMatch('"1"')), 412, 'precondition_failed')
      expectProblem(await api().delete(path, ifMatch('"1"')), 412, 'precondition_failed')
      expect((await api().get(path)).body).toMatchObject({ description: 'x', version: 2 })
    })

    it('when it is sent again with its key, then it is done once', async () => {
      const { body } = await createEndpoint(system)
      const key = keyed()
      const first = await api().patch(`${PATH}/${body.id}`, { description: 'x' }, key)
      const again = await api().patch(`${PATH}/${body.id}`, { description: 'x' }, key)
      expect(again.text).toBe(first.text)
      expect([again.headers.get('etag'), again.headers.get('idempotent-replayed')]).toEqual(['"2"', 'true'])
      const other = await api().patch(`${PATH}/${body.id}`, { description: 'y' }, key)
      expectProblem(other, 422, 'idempotency_key_reused')
    })

    it('when the body is wrong, then each fault is named', async () => {
      const { body } = await createEndpoint(system)
      const path = `${PATH}/${body.id}`
      expectFaults(await api().patch(path, {}), [''])
      expectFaults(await api().patch(path, { url: null, status: null }), [''])
      const wrong = { status: 'deleted', event_types: [], description: '\u0000', customer_id: 1, secret: 'x' }
      expectFaults(await api().patch(path, wrong), ['status', 'event_types', 'description', 'customer_id', 'secret'])
      expectProblem(await api().patch(`${PATH}/${NOBODY}`, { description: 'x' }), 404, 'not_found')
    })

    it('when the new URL may not be called, then 422 and the old one stays', async () => {
      const { body } = await createEndpoint(system)
      const url = 'http://10.0.0.1/'
      expectProblem(await api().patch(`${PATH}/${body.id}`, { url }), 422, 'url_not_allowed')
      expect((await api().get(`${PATH}/${body.id}`)).body).toMatchObject({ url: NEW.url, version: 1 })
    })

    it('when it is disabled, then nothing is sent, and once enabled nothing was lost', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const path = `${PATH}/${endpoint.id}`
      const disabled = await api().patch(path, { status: 'disabled' })
      expect(disabled.body).toMatchObject({ status: 'disabled', disabled_reason: 'requested', version: 2 })
      const order = await orderWith(system, ['confirm'])
      await system.dispatch()
      expect(receiver.received).toEqual([])
      const enabled = await api().patch(path, { status: 'enabled' })
      expect(enabled.body).toMatchObject({ status: 'enabled', disabled_reason: null, version: 3 })
      await system.dispatch()
      expect(receiver.received.map(({ event }) => [event.type, event.resource.id])).toEqual([
        ['order.placed', order.id],
        ['order.confirmed', order.id],
      ])
    })

    it('when the types are changed, then the next events are chosen by them', async () => {
      const { receiver, endpoint } = await newEndpoint(system, { event_types: ['order.placed'] })
      await orderWith(system, ['confirm'])
      await system.dispatch()
      await api().patch(`${PATH}/${endpoint.id}`, { event_types: ['order.canceled', 'product.created'] })
      await orderWith(system, ['cancel'])
      await system.dispatch()
      expect(shown(receiver.received)).toEqual([
        ['order.placed', 1],
        ['product.created', 1],
        ['order.canceled', 2],
      ])
    })
  })

  describe('DELETE /webhook-endpoints/:id', () => {
    it('when it is deleted, then 204, it is gone for every route, and is swept', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      await orderWith(system, [])
      await system.dispatch()
      const [delivery] = await deliveriesOf(system, endpoint.id)
      const key = keyed()
      const path = `${PATH}/${endpoint.id}`
      const deleted = await api().delete(path, key)
      expect([deleted.status, deleted.text, deleted.headers.get('content-type')]).toEqual([204, '', null])
      const again = await api().delete(path, key)
      expect([again.status, again.headers.get('idempotent-replayed')]).toEqual([204, 'true'])

      const since = { since: '2020-01-01T00:00:00Z' }
      const calls = [
        api().get(path),
        api().patch(path, { status: 'enabled' }),
        api().delete(path),
        api().post(`${path}/rotate-secret`),
        api().post(`${path}/ping`),
        api().post(`${path}/recover`, since),
        api().get(`${path}/deliveries`),
        api().get(`/webhook-deliveries/${delivery.id}`),
        api().post(`/webhook-deliveries/${delivery.id}/redeliver`),
      ]
      for (const response of await Promise.all(calls)) expectProblem(response, 404, 'not_found')
      expect(idsOf(await readPages(api(), PATH))).not.toContain(endpoint.id)
      await orderWith(system, [])
      await system.dispatch()
      expect(receiver.received).toHaveLength(1)

      expect((await system.sweep()).deliveries).toBeGreaterThanOrEqual(1)
      const { db } = system
      const ofEndpoint = db.selectFrom('webhook_deliveries').select('id').where('endpoint_id', '=', endpoint.id)
      expect(await ofEndpoint.execute()).toEqual([])
      const attempts = db.selectFrom('webhook_attempts').select('id').where('delivery_id', '=', delivery.id)
      expect(await attempts.execute()).toEqual([])
      const rows = db.selectFrom('webhook_endpoints').select('id').where('id', '=', endpoint.id)
      expect(await rows.execute()).toEqual([])
      expect((await api().delete(path, key)).status).toBe(204)
    })

    it('when its secret is asked of the database, then it is deleted at once', async () => {
      const { body } = await createEndpoint(system)
      await api().post(`${PATH}/${body.id}/rotate-secret`)
      await api().delete(`${PATH}/${body.id}`)
      const row = await system.db
        .selectFrom('webhook_endpoints')
        .select(['secret', 'old_secret'])
        .where('id', '=', body.id)
        .executeTakeFirst()
      expect(row).toEqual({ secret: '', old_secret: null })
    })
  })

  describe('POST /webhook-endpoints/:id/rotate-secret', () => {
    it('when it is rotated, then both secrets sign until the grace ends', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const path = `${PATH}/${endpoint.id}`
      const rotated = await api().post(`${path}/rotate-secret`)
      expect(rotated.status).toBe(200)
      expect(rotated.headers.get('etag')).toBe('"2"')
      const { secret, old_secret_until, updated_at } = rotated.body
      expect(rotated.body).toEqual({ ...endpoint, secret: SECRET, old_secret_until: TIME, updated_at, version: 2 })
      expect(secret).not.toBe(endpoint.secret)
      expect(Date.parse(old_secret_until) - Date.parse(updated_at)).toBe(86_400_000)
      await orderWith(system, [])
      await system.dispatch()
      expect(String(receiver.received[0]?.headers['webhook-signature'])).toMatch(/^v1,\S+ v1,\S+$/)
      for (const one of [secret, endpoint.secret]) receiver.verifyAll(one)

      const over = { old_secret_until: '2020-01-01 00:00:00.000' }
      await system.db.updateTable('webhook_endpoints').set(over).where('id', '=', endpoint.id).execute()
      receiver.received.splice(0)
      await orderWith(system, [])
      await system.dispatch()
      receiver.verifyAll(secret)
      expect(() => receiver.verifyAll(endpoint.secret)).toThrow('No matching signature found')
      expect(await system.sweep()).toMatchObject({ secrets: 1 })
      const row = await system.db
        .selectFrom('webhook_endpoints')
        .select(['old_secret', 'old_secret_until'])
        .where('id', '=', endpoint.id)
        .executeTakeFirst()
      expect(row).toEqual({ old_secret: null, old_secret_until: null })
      expect(await system.sweep()).not.toHaveProperty('secrets')
    })

    it('when one runs, then 409 unless it is forced', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const path = `${PATH}/${endpoint.id}/rotate-secret`
      const first = await api().post(path, { grace_seconds: 60 })
      const refused = await api().post(path, {})
      expectProblem(refused, 409, 'rotation_in_progress')
      expect(refused.body).toMatchObject({ old_secret_until: first.body.old_secret_until })
      const forced = await api().post(path, { grace_seconds: 60, force: true })
      expect(forced).toMatchObject({ status: 200, body: { secret: SECRET, version: 3 } })
      await api().post(`${PATH}/${endpoint.id}/ping`)
      for (const { secret } of [first.body, forced.body]) receiver.verifyAll(secret)
      expect(() => receiver.verifyAll(endpoint.secret)).toThrow('No matching signature found')
    })

    it('when the grace is 0, then the old secret ends at once, and another may follow', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const path = `${PATH}/${endpoint.id}/rotate-secret`
      for (const _ of [1, 2]) expect((await api().post(path, { grace_seconds: 0 })).status).toBe(200)
      await api().post(`${PATH}/${endpoint.id}/ping`)
      expect(String(receiver.received[0]?.headers['webhook-signature'])).toMatch(/^v1,\S+$/)
    })

    it('when it is sent again with its key, then it is done once, and the secret is not shown', async () => {
      const { body } = await createEndpoint(system)
      const key = keyed()
      const first = await api().post(`${PATH}/${body.id}/rotate-secret`, undefined, key)
      const again = await api().post(`${PATH}/${body.id}/rotate-secret`, undefined, key)
      expect(again.body).toEqual({ ...first.body, secret: null })
      expect([again.headers.get('etag'), again.headers.get('idempotent-replayed')]).toEqual(['"2"', 'true'])
      expect(await storedTexts(body.id)).not.toContain(first.body.secret.slice('whsec_'.length))
    })

    it('when the answer of the commit is lost, then the new secret is shown all the same', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      loseNextCommit(system.db)
      const rotated = await api().post(`${PATH}/${endpoint.id}/rotate-secret`)
      expect(rotated.headers.get('idempotent-replayed')).toBeNull()
      expect(rotated.body).toMatchObject({ secret: SECRET, version: 2 })
      await api().post(`${PATH}/${endpoint.id}/ping`)
      receiver.verifyAll(rotated.body.secret)
    })

    it('when the body is wrong, then each fault is named', async () => {
      const path = `${PATH}/${(await createEndpoint(system)).body.id}/rotate-secret`
      expectFaults(await api().post(path, { grace_seconds: 604_801, force: 'yes', x: 1 }), [
        'grace_seconds',
        'force',
        'x',
      ])
      expectFaults(await api().post(path, { grace_seconds: -1 }), ['grace_seconds'])
    })
  })

  describe('POST /webhook-endpoints/:id/ping', () => {
    it('when it is pinged, then it gets a signed event that is not in the feed', async () => {
      const { receiver, endpoint } = await newEndpoint(system, { event_types: ['product.updated'] })
      receiver.answer = () => ({ status: 202, body: 'thanks' })
      const latest = (await api().get('/events?after=latest')).body.next_cursor
      const response = await api().post(`${PATH}/${endpoint.id}/ping`)
      expect(response.status).toBe(200)
      expect(response.body).toEqual({
        event: {
          id: expect.stringMatching(/^ping_[0-9a-f-]{36}$/),
          type: 'ping',
          timestamp: TIME,
          position: null,
          resource: { type: 'webhook_endpoint', id: endpoint.id, version: 1 },
          actor: { type: 'system', id: 'webhooks' },
          correlation_id: null,
          data: {},
        },
        attempt: { attempted_at: TIME, status: 202, duration_ms: expect.any(Number), error: null, response: 'thanks' },
      })
      expect(receiver.received.map(({ event }) => event)).toEqual([response.body.event])
      expect(receiver.received[0]?.headers).toMatchObject({
        'webhook-id': response.body.event.id,
        'content-type': 'application/json',
        'user-agent': 'b2b-orders-webhooks/1',
      })
      receiver.verifyAll(endpoint.secret)
      expect((await api().get(`/events?after=${latest}`)).body.data).toEqual([])
      expect(await deliveriesOf(system, endpoint.id)).toEqual([])
      expect((await api().get(`${PATH}/${endpoint.id}`)).body).toMatchObject({ last_success_at: null })
    })

    it('when nothing or no success comes, then the answer says so', async () => {
      const { receiver, endpoint } = await newEndpoint(system, {})
      const ping = async () => (await api().post(`${PATH}/${endpoint.id}/ping`)).body.attempt
      receiver.answer = () => ({ status: 500, body: 'x'.repeat(2_000) })
      expect(await ping()).toMatchObject({ status: 500, error: null, response: 'x'.repeat(1024) })
      receiver.answer = () => ({ status: 302, headers: { location: receiver.url }, body: '' })
      expect(await ping()).toMatchObject({ status: 302, error: null, response: '' })
      expect(receiver.received).toHaveLength(2)
      await api().patch(`${PATH}/${endpoint.id}`, { url: await nowhere() })
      expect(await ping()).toMatchObject({ status: null, error: 'connection_refused', response: '' })
    })

    it('when it is disabled, then it can be pinged', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      await api().patch(`${PATH}/${endpoint.id}`, { status: 'disabled' })
      expect((await api().post(`${PATH}/${endpoint.id}/ping`, {})).body.attempt).toMatchObject({ status: 200 })
      expect(receiver.received).toHaveLength(1)
      expectFaults(await api().post(`${PATH}/${endpoint.id}/ping`, { now: true }), ['now'])
    })
  })

  describe('deliveries', () => {
    it('when they are listed, then newest first, page by page, by status and time', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = ({ event }) => ({ status: event.type === 'order.canceled' ? 500 : 200 })
      await orderWith(system, ['confirm'])
      await orderWith(system, ['cancel'])
      await system.dispatch()
      const path = `${PATH}/${endpoint.id}/deliveries`
      const all = await deliveriesOf(system, endpoint.id)
      expect(all.map(({ event_type, status }) => [event_type, status])).toEqual([
        ['order.canceled', 'pending'],
        ['order.placed', 'succeeded'],
        ['order.confirmed', 'succeeded'],
        ['order.placed', 'succeeded'],
      ])
      expect(all.map(({ position }) => position)).toEqual(all.map(({ position }) => position).toSorted((a, b) => b - a))
      expect(await readPages(api(), `${path}?limit=1`)).toEqual(all)
      expect(await readPages(api(), `${path}?limit=2&status=succeeded`)).toEqual(all.slice(1))
      expect(await readPages(api(), `${path}?status=failed`)).toEqual([])
      const from = encodeURIComponent(all[0].created_at)
      expect((await readPages(api(), `${path}?limit=1&from=${from}`)).map(({ id }) => id)).toContain(all[0].id)
      expect(await readPages(api(), `${path}?from=2999-01-01`)).toEqual([])
    })

    it('when one is read, then it has its attempts, oldest first, with 1 KiB of each answer', async () => {
      const { receiver, endpoint } = await newEndpoint(system, { event_types: ['order.placed'] })
      const order = await orderWith(system, [])
      const answers = [{ status: 503, body: 'x'.repeat(5_000) }, { status: 200 }]
      receiver.answer = () => answers.shift() ?? { status: 200 }
      await system.dispatch()
      const [pending] = await deliveriesOf(system, endpoint.id)
      expect(pending).toMatchObject({ status: 'pending', tries: 1, next_attempt_at: TIME, finished_at: null })
      await passRetryPauses(system, endpoint.id)
      await system.dispatch()
      const [listed] = await deliveriesOf(system, endpoint.id)
      const { body } = await api().get(`/webhook-deliveries/${listed.id}`)
      const { events } = await historyOf(order.id)
      expect(body).toEqual({
        id: listed.id,
        endpoint_id: endpoint.id,
        event_id: events[0].id,
        event_type: 'order.placed',
        resource: { type: 'order', id: order.id },
        position: events[0].position,
        status: 'succeeded',
        tries: 2,
        next_attempt_at: null,
        created_at: TIME,
        finished_at: TIME,
        attempts: [
          { attempted_at: TIME, status: 503, duration_ms: expect.any(Number), error: null, response: 'x'.repeat(1024) },
          { attempted_at: TIME, status: 200, duration_ms: expect.any(Number), error: null, response: 'ok' },
        ],
      })
      expect({ ...listed, attempts: body.attempts }).toEqual(body)
      expect(receiver.received.map(({ event }) => event)).toEqual([events[0], events[0]])
    })

    it('when one has very many attempts, then the last 100 are shown', async () => {
      const { endpoint } = await newEndpoint(system)
      await orderWith(system, [])
      await system.dispatch()
      const [{ id }] = await deliveriesOf(system, endpoint.id)
      const attempt = {
        delivery_id: id,
        attempted_at: '2026-01-01 00:00:00.000',
        duration_ms: 1,
        error: null,
        excerpt: '',
      }
      const rows = Array.from({ length: 120 }, (_, i) => ({ ...attempt, status: 400 + i }))
      await system.db.insertInto('webhook_attempts').values(rows).execute()
      const statuses = (await attemptsOf(system, id)).map(({ status }: { status: number }) => status)
      expect(statuses).toEqual(rows.slice(-100).map(({ status }) => status))
    })
  })

  async function historyOf(orderId: number) {
    return { events: (await api().get(`/orders/${orderId}/history`)).body.data }
  }

  describe('POST /webhook-deliveries/:id/redeliver', () => {
    const redeliver = (id: number, body?: unknown) => api().post(`/webhook-deliveries/${id}/redeliver`, body)

    it('when one that succeeded is sent again, then the same id, a new time and signature', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      await orderWith(system, [])
      await system.dispatch()
      const [before] = await deliveriesOf(system, endpoint.id)
      const response = await redeliver(before.id)
      expect(response.status).toBe(202)
      expect(response.body).toEqual({
        ...before,
        status: 'pending',
        tries: 0,
        next_attempt_at: TIME,
        finished_at: null,
      })
      // The time of a signature has whole seconds.
      await expect.poll(() => Math.floor(Date.now() / 1000)).toBeGreaterThan(timestampOf(receiver.received[0]))
      await system.dispatch()
      const [first, second] = receiver.received
      expect(second?.body).toBe(first?.body)
      expect(second?.headers['webhook-id']).toBe(first?.headers['webhook-id'])
      expect(timestampOf(second)).toBeGreaterThan(timestampOf(first))
      expect(second?.headers['webhook-signature']).not.toBe(first?.headers['webhook-signature'])
      receiver.verifyAll(endpoint.secret)
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ id: before.id, status: 'succeeded', tries: 1 }])
      expect(await attemptsOf(system, before.id)).toHaveLength(2)
    })

    it('when one that failed is sent again, then it has all its attempts again', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      await orderWith(system, [])
      await system.dispatch()
      const [{ id }] = await deliveriesOf(system, endpoint.id)
      const failed = { status: 'failed', tries: 10 } as const
      await system.db.updateTable('webhook_deliveries').set(failed).where('id', '=', id).execute()
      expect((await redeliver(id, {})).body).toMatchObject({ status: 'pending', tries: 0 })
      receiver.answer = () => ({ status: 500 })
      await system.dispatch()
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ status: 'pending', tries: 1 }])
    })

    it('when one pauses before a retry, then it is sent at once', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = () => ({ status: 500 })
      await orderWith(system, [])
      await system.dispatch()
      const [{ id }] = await deliveriesOf(system, endpoint.id)
      expect((await redeliver(id)).body).toMatchObject({ status: 'pending', tries: 0 })
      receiver.answer = () => ({ status: 200 })
      await system.dispatch()
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ status: 'succeeded', tries: 1 }])
    })

    it('when one waits for an earlier one of its order, then it waits on', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = () => ({ status: 500 })
      await orderWith(system, ['confirm'])
      await system.dispatch()
      const [waiting] = await deliveriesOf(system, endpoint.id)
      expect(waiting).toMatchObject({ event_type: 'order.confirmed', status: 'pending', next_attempt_at: null })
      expect((await redeliver(waiting.id)).body).toEqual(waiting)
      await system.dispatch()
      expect(shown(receiver.received)).toEqual([['order.placed', 1]])
    })

    it('when an earlier one is asked for again, then the later ones of its order wait for it', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = ({ event }) => ({ status: event.type === 'order.placed' ? 200 : 500 })
      await orderWith(system, ['confirm', 'cancel'])
      await system.dispatch()
      const placed = (await deliveriesOf(system, endpoint.id)).find(({ event_type }) => event_type === 'order.placed')
      receiver.received.splice(0)
      receiver.answer = ({ event }) => ({ status: event.type === 'order.placed' ? 500 : 200 })
      await redeliver(placed.id)
      await passRetryPauses(system, endpoint.id)
      await system.dispatch()
      expect(shown(receiver.received)).toEqual([['order.placed', 1]])
      receiver.answer = () => ({ status: 200 })
      await passRetryPauses(system, endpoint.id)
      await system.dispatch()
      expect(shown(receiver.received)).toEqual([
        ['order.placed', 1],
        ['order.placed', 1],
        ['order.confirmed', 2],
        ['order.canceled', 3],
      ])
    })

    it('when the body or the id is wrong, then it is refused', async () => {
      expectProblem(await redeliver(NOBODY), 404, 'not_found')
      expectProblem(await api().post('/webhook-deliveries/x/redeliver'), 400, 'invalid_id')
      expectFaults(await redeliver(NOBODY, { now: true }), ['now'])
    })
  })

  describe('POST /webhook-endpoints/:id/recover', () => {
    const recover = (id: number, body: unknown) => api().post(`${PATH}/${id}/recover`, body)
    const since = '2020-01-01T00:00:00Z'

    /** Two orders, each placed and confirmed, all received. */
    async function received() {
      const { receiver, endpoint } = await newEndpoint(system)
      const orders = [await orderWith(system, ['confirm']), await orderWith(system, ['confirm'])]
      await system.dispatch()
      expect(receiver.received).toHaveLength(4)
      receiver.received.splice(0)
      return { receiver, endpoint, orders, deliveries: await deliveriesOf(system, endpoint.id) }
    }

    it('when those that failed are asked for, then these alone, in order for each order', async () => {
      const { receiver, endpoint, orders, deliveries } = await received()
      const ofFirst = deliveries.filter(({ resource }) => resource.id === orders[0]?.id)
      const failed = { status: 'failed', tries: 10 } as const
      await system.db.updateTable('webhook_deliveries').set(failed).where('id', 'in', idsOf(ofFirst)).execute()
      const response = await recover(endpoint.id, { since })
      expect({ status: response.status, body: response.body }).toEqual({ status: 202, body: { recovered: 2 } })
      await system.dispatch()
      expect(shown(receiver.received)).toEqual([
        ['order.placed', 1],
        ['order.confirmed', 2],
      ])
      expect((await recover(endpoint.id, { since })).body).toEqual({ recovered: 0 })
    })

    it('when those that succeeded are asked for, then all come again, in order', async () => {
      const { receiver, endpoint, orders } = await received()
      expect((await recover(endpoint.id, { since, status: 'succeeded' })).body).toEqual({ recovered: 4 })
      await system.dispatch()
      for (const { id } of orders) {
        const ofOrder = receiver.received.filter(({ event }) => event.resource.id === id)
        expect(shown(ofOrder)).toEqual([
          ['order.placed', 1],
          ['order.confirmed', 2],
        ])
      }
    })

    it('when a time is asked for, then only deliveries that were made in it', async () => {
      const { receiver, endpoint, deliveries } = await received()
      const times = ['2026-01-01', '2026-01-02', '2026-01-03', '2026-01-04']
      for (const [i, { id }] of deliveries.entries()) {
        const created_at = `${times[i]} 00:00:00.000`
        await system.db.updateTable('webhook_deliveries').set({ created_at }).where('id', '=', id).execute()
      }
      const window = { since: '2026-01-02T00:00:00Z', until: '2026-01-04', status: 'succeeded' }
      expect((await recover(endpoint.id, window)).body).toEqual({ recovered: 2 })
      await system.dispatch()
      const again = receiver.received.map(({ event }) => event.position)
      expect(again.toSorted()).toEqual([deliveries[1].position, deliveries[2].position].toSorted())
    })

    it('when there are more than one transaction takes, then all of them', async () => {
      const { receiver, endpoint, deliveries } = await received()
      const { id: _, ...row } = await system.db
        .selectFrom('webhook_deliveries')
        .selectAll()
        .where('id', '=', deliveries[0].id)
        .executeTakeFirstOrThrow()
      const copies = Array.from({ length: 1_200 }, (_, i) => {
        const event_id = row.event_id + 1_000_000 + i
        return { ...row, status: 'failed' as const, event_id, position: event_id, resource_id: 1_000_000 + (i % 7) }
      })
      for (let i = 0; i < copies.length; i += 400) {
        await system.db
          .insertInto('webhook_deliveries')
          .values(copies.slice(i, i + 400))
          .execute()
      }
      expect((await recover(endpoint.id, { since })).body).toEqual({ recovered: 1_200 })
      const due = system.db
        .selectFrom('webhook_deliveries')
        .select('position')
        .where('endpoint_id', '=', endpoint.id)
        .where('next_attempt_at', 'is not', null)
      const firsts = copies.slice(0, 7).map(({ position }) => position)
      expect((await due.execute()).map(({ position }) => position).toSorted()).toEqual(firsts)
      expect(receiver.received).toEqual([])
    })

    it('when the body is wrong, then each fault is named', async () => {
      const { id } = (await createEndpoint(system)).body
      expectFaults(await recover(id, {}), ['since'])
      expectFaults(await recover(id, { since: 'yesterday', until: 5, status: 'pending', x: 1 }), [
        'since',
        'until',
        'status',
        'x',
      ])
      expectProblem(await recover(NOBODY, { since }), 404, 'not_found')
    })
  })

  describe('a client that is bound to a customer', () => {
    async function bound() {
      const { id: customerId } = await newCustomer(system)
      return { customerId, as: { token: await system.token({ customerId }) } }
    }

    it('when it makes one, then for its own customer only', async () => {
      const { customerId, as } = await bound()
      expect((await createEndpoint(system, {}, as)).body).toMatchObject({ customer_id: customerId })
      expect((await createEndpoint(system, { customer_id: customerId }, as)).body.customer_id).toBe(customerId)
      for (const customer_id of [1, NOBODY]) {
        expectProblem(await createEndpoint(system, { customer_id }, as), 404, 'not_found')
      }
    })

    it('when it reads or changes those of others, then there are none', async () => {
      const { as } = await bound()
      const { endpoint } = await newEndpoint(system)
      const other = (await createEndpoint(system, { customer_id: 1 })).body
      await orderWith(system, [])
      await system.dispatch()
      const [delivery] = await deliveriesOf(system, endpoint.id)
      for (const { id } of [endpoint, other]) {
        const path = `${PATH}/${id}`
        const calls = [
          api().get(path, as),
          api().patch(path, { status: 'disabled' }, as),
          api().delete(path, as),
          api().post(`${path}/rotate-secret`, {}, as),
          api().post(`${path}/ping`, {}, as),
          api().post(`${path}/recover`, { since: '2020-01-01' }, as),
          api().get(`${path}/deliveries`, as),
        ]
        for (const response of await Promise.all(calls)) expectProblem(response, 404, 'not_found')
      }
      expectProblem(await api().get(`/webhook-deliveries/${delivery.id}`, as), 404, 'not_found')
      expectProblem(await api().post(`/webhook-deliveries/${delivery.id}/redeliver`, {}, as), 404, 'not_found')
      expect((await api().get(PATH, as)).body.data).toEqual([])
    })

    it('when it uses its own, then as anyone does', async () => {
      const { as, customerId } = await bound()
      const { receiver, endpoint } = await newEndpoint(system, {}, as)
      await orderWith(system, [], { customer_id: customerId })
      await system.dispatch()
      const path = `${PATH}/${endpoint.id}`
      expect(idsOf((await api().get(PATH, as)).body.data)).toEqual([endpoint.id])
      const [delivery] = (await api().get(`${path}/deliveries`, as)).body.data
      expect((await api().get(`/webhook-deliveries/${delivery.id}`, as)).body.attempts).toHaveLength(1)
      expect((await api().post(`/webhook-deliveries/${delivery.id}/redeliver`, {}, as)).status).toBe(202)
      expect((await api().post(`${path}/ping`, {}, as)).status).toBe(200)
      expect((await api().post(`${path}/rotate-secret`, {}, as)).body.secret).toEqual(SECRET)
      expect((await api().patch(path, { description: 'mine' }, as)).status).toBe(200)
      expect((await api().delete(path, as)).status).toBe(204)
      expect(receiver.received).toHaveLength(2)
    })

    it('when events come, then only its orders’, and products’ without who did it', async () => {
      const { as, customerId } = await bound()
      const { receiver } = await newEndpoint(system, { event_types: ['*'] }, as)
      const own = await orderWith(system, [], { customer_id: customerId })
      await orderWith(system, ['confirm'])
      const gone = await newEndpoint(system)
      gone.receiver.answer = () => ({ status: 410 })
      await orderWith(system, [])
      await system.dispatch()
      await system.dispatch()
      const orders = receiver.received.filter(({ event }) => event.resource.type === 'order')
      expect(orders.map(({ event }) => event)).toMatchObject([
        { resource: { id: own.id }, actor: { type: 'client', id: 'tests' } },
      ])
      const others = receiver.received.filter(({ event }) => event.resource.type !== 'order')
      expect(others.map(({ event }) => event.type)).toEqual(['product.created', 'product.created', 'product.created'])
      for (const { event } of others) {
        expect(event).toMatchObject({ actor: { type: 'client', id: null }, correlation_id: null })
      }
    })
  })

  describe('the keys of secrets', () => {
    const serveWith = (keys: string[]) => serveOrders(system, { webhooks: { ...system.env.webhooks, keys } })
    const [OLD, NEW_KEY] = ['webhooks123', 'a key that replaces the old one']

    it('when WEBHOOK_KEYS is missing, then writes say so with 503, and reads work', async () => {
      const { endpoint } = await newEndpoint(system)
      const { api } = await serveWith([])
      const path = `${PATH}/${endpoint.id}`
      for (const response of [
        await api.post(PATH, NEW),
        await api.post(`${path}/rotate-secret`),
        await api.post(`${path}/ping`),
      ]) {
        expectProblem(response, 503, 'unavailable')
        expect(response.body.detail).toContain('WEBHOOK_KEYS is missing')
      }
      const { secret: _, ...shownEndpoint } = endpoint
      expect((await api.get(path)).body).toEqual(shownEndpoint)
      expect((await api.get(PATH)).status).toBe(200)
      expect((await api.get(`${path}/deliveries`)).body.data).toEqual([])
      expect((await api.patch(path, { description: 'x' })).status).toBe(200)
      expect((await api.delete(path)).status).toBe(204)
    })

    it('when the key is replaced, then secrets are sealed anew, and the old key may go', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const rotated = (await api().post(`${PATH}/${endpoint.id}/rotate-secret`)).body
      const both = await serveWith([NEW_KEY, OLD])
      await orderWith(system, [])
      await both.dispatch()
      expect((await both.sweep()).secrets).toBeGreaterThanOrEqual(1)
      expect(await both.sweep()).not.toHaveProperty('secrets')
      const only = await serveWith([NEW_KEY])
      await orderWith(system, [])
      await only.dispatch()
      expect(receiver.received).toHaveLength(2)
      for (const { secret } of [endpoint, rotated]) receiver.verifyAll(secret)
      const back = await serveWith([OLD, NEW_KEY])
      await back.sweep()
    })

    it('when a key is missing, then it is logged, nothing is sent, and nothing is lost', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      await orderWith(system, [])
      const without = await serveWith([NEW_KEY])
      await without.dispatch()
      expect(receiver.received).toEqual([])
      const [delivery] = await deliveriesOf(system, endpoint.id)
      expect(delivery).toMatchObject({ status: 'pending', tries: 0 })
      expect(await attemptsOf(system, delivery.id)).toMatchObject([{ status: null, error: 'not_signed', response: '' }])
      const line = without.log.find((line) => line.includes('a webhook could not be signed'))
      expect(JSON.parse(line ?? '{}')).toMatchObject({ level: 50, endpoint_id: endpoint.id, delivery_id: delivery.id })
      expect(line).toContain('WEBHOOK_KEYS')
      expect((await without.api.post(`${PATH}/${endpoint.id}/ping`)).body.attempt).toMatchObject({
        error: 'not_signed',
      })
      expect((await api().get(`${PATH}/${endpoint.id}`)).body).toMatchObject({ status: 'enabled', paused_until: TIME })
      expect(await without.sweep()).not.toHaveProperty('secrets')

      await system.db
        .updateTable('webhook_endpoints')
        .set({ paused_until: null })
        .where('id', '=', endpoint.id)
        .execute()
      await system.dispatch()
      expect(receiver.received).toHaveLength(1)
      receiver.verifyAll(endpoint.secret)
    })

    it('when the key is lost, then a rotated secret signs alone', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const { api } = await serveWith([NEW_KEY])
      const rotated = await api.post(`${PATH}/${endpoint.id}/rotate-secret`)
      expect(rotated.body).toMatchObject({ secret: SECRET, old_secret_until: null })
      expect((await api.post(`${PATH}/${endpoint.id}/ping`)).body.attempt).toMatchObject({ status: 200 })
      receiver.verifyAll(rotated.body.secret)
      const back = await serveWith([OLD, NEW_KEY])
      onTestFinished(async () => void (await back.sweep()))
    })
  })
})

function timestampOf(received: Received | undefined): number {
  return Number(received?.headers['webhook-timestamp'])
}
