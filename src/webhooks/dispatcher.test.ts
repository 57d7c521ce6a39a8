import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { randomOf } from '../../testing/random.ts'
import { newCustomer, newKey, newOrder, newProduct, newWord } from '../../testing/rows.ts'
import { nowhere } from '../../testing/services.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'
import type { Answer, Received, Receiver } from '../../testing/webhook-receiver.ts'
import {
  attemptsOf,
  deliveriesOf,
  endLeases,
  LOOPBACK,
  loseNextCommit,
  newEndpoint,
  passPause,
  passRetryPauses,
} from '../../testing/webhooks.ts'
import { addMinutes } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'
import { countInFlight } from './delivery-store.ts'
import { type Ended, workOnEndpoint } from './endpoint-work.ts'

vi.setConfig({ testTimeout: 60_000 })

/** Machines may be busy. */
const POLL = { timeout: 20_000 }

const MINUTE = 60
const HOUR = 60 * MINUTE
/** The pauses after each failed attempt but the last, in seconds. */
const PAUSES = [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]

const shown = (received: Received[]) => received.map(({ event }) => [event.type, event.resource.version])

/** Lets a receiver keep its answers back, except the first ones. */
function holdAnswers(receiver: Receiver, except = 0) {
  const open = Promise.withResolvers<Answer>()
  const held = { now: 0, most: 0, release: () => open.resolve({ status: 200 }) }
  receiver.answer = async () => {
    if (receiver.received.length <= except) return { status: 200 }
    held.now++
    held.most = Math.max(held.most, held.now)
    const answer = await open.promise
    held.now--
    return answer
  }
  onTestFinished(held.release)
  return held
}

describeEachEngine('the dispatcher', (engine) => {
  const system = useSystem(engine, LOOPBACK)
  const path = (id: number) => `/webhook-endpoints/${id}`
  const endpointOf = async (id: number) => (await system.orders.get(path(id))).body

  async function place(count: number, changes: ('confirm' | 'cancel')[] = []) {
    const { id: product_id } = await newProduct(system, { stock: 1_000 })
    const make = async () => {
      const order = await newOrder(system, [{ product_id, qty: 1 }])
      const headers = { 'idempotency-key': newKey() }
      for (const change of changes) await system.orders.post(`/orders/${order.id}/${change}`, undefined, { headers })
      return order
    }
    const orders: Awaited<ReturnType<typeof make>>[] = []
    for (let i = 0; i < count; i++) orders.push(await make())
    return orders
  }

  async function setEndpoint(id: number, columns: { enabled_at?: string; last_success_at?: string }) {
    await system.db.updateTable('webhook_endpoints').set(columns).where('id', '=', id).execute()
  }

  async function hoursAgo(hours: number): Promise<string> {
    return addMinutes(await readClock(system.db), -60 * hours)
  }

  /** Lets the first delivery of an endpoint have one attempt left. */
  async function useUpAttempts(endpointId: number) {
    await system.dispatch()
    const used = { tries: 9, next_attempt_at: '2020-01-01 00:00:00.000' }
    const due = system.db.updateTable('webhook_deliveries').set(used).where('endpoint_id', '=', endpointId)
    await due.where('next_attempt_at', 'is not', null).execute()
  }

  const errors = () => system.log.map((line) => JSON.parse(line)).filter(({ level }) => level >= 50)

  describe('what is sent again', () => {
    it('when attempts fail, then ten by the schedule, then the next of that order', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = ({ event }) => ({ status: event.type === 'order.placed' ? 500 : 200 })
      await place(1, ['confirm'])
      for (const [i, pause] of PAUSES.entries()) {
        await system.dispatch()
        const [waiting, delivery] = await deliveriesOf(system, endpoint.id)
        expect(waiting).toMatchObject({ status: 'pending', tries: 0, next_attempt_at: null })
        expect(delivery).toMatchObject({ status: 'pending', tries: i + 1 })
        const last = (await attemptsOf(system, delivery.id)).at(-1)
        const seconds = (Date.parse(delivery.next_attempt_at) - Date.parse(last.attempted_at) - last.duration_ms) / 1000
        expect(seconds).toBeGreaterThanOrEqual(0.8 * pause)
        expect(seconds).toBeLessThanOrEqual(1.2 * pause)
        await passRetryPauses(system, endpoint.id)
      }
      await system.dispatch()
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([
        { event_type: 'order.confirmed', status: 'succeeded', tries: 1 },
        { event_type: 'order.placed', status: 'failed', tries: 10, next_attempt_at: null },
      ])
      expect(receiver.received).toHaveLength(11)
      receiver.verifyAll(endpoint.secret)
      const ids = receiver.received.map(({ headers }) => headers['webhook-id'])
      expect(new Set(ids).size).toBe(2)
    })

    it('when the pause is not over, then nothing is sent', async () => {
      const { receiver } = await newEndpoint(system)
      receiver.answer = () => ({ status: 500 })
      await place(1)
      for (let i = 0; i < 3; i++) await system.dispatch()
      expect(receiver.received).toHaveLength(1)
    })

    it('when there is no response, then that is a failed attempt', async () => {
      const { endpoint } = await newEndpoint(system)
      await system.orders.patch(path(endpoint.id), { url: await nowhere() })
      await place(1)
      await system.dispatch()
      const [delivery] = await deliveriesOf(system, endpoint.id)
      expect(delivery).toMatchObject({ status: 'pending', tries: 1 })
      const attempts = await attemptsOf(system, delivery.id)
      expect(attempts).toMatchObject([{ status: null, error: 'connection_refused', response: '' }])
    })

    it.each([301, 302, 307, 308])(
      'when the response is a %i, then it is a failure and not followed',
      async (status) => {
        const [{ receiver, endpoint }, other] = [await newEndpoint(system), await newEndpoint(system, NO_EVENTS)]
        receiver.answer = () => ({ status, headers: { location: other.receiver.url } })
        await place(1)
        await system.dispatch()
        expect(other.receiver.received).toEqual([])
        expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ status: 'pending', tries: 1 }])
      },
    )
  })

  /** Stands for types that no test causes at this endpoint. */
  const NO_EVENTS = { event_types: ['customer.deleted'] }

  describe('the state of endpoints', () => {
    it('when the response is a 410, then it is disabled, and once enabled nothing was lost', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const latest = (await system.orders.get('/events?after=latest')).body.next_cursor
      receiver.answer = () => ({ status: 410 })
      const [order] = await place(1, ['confirm'])
      await system.dispatch()
      const disabled = await endpointOf(endpoint.id)
      expect(disabled).toMatchObject({ status: 'disabled', disabled_reason: 'gone', version: 2 })
      const { data } = (await system.orders.get(`/events?after=${latest}&types=webhook_endpoint.disabled`)).body
      expect(data).toMatchObject([
        {
          type: 'webhook_endpoint.disabled',
          resource: { type: 'webhook_endpoint', id: endpoint.id, version: 2 },
          actor: { type: 'system', id: 'webhooks' },
          data: { webhook_endpoint: disabled, reason: 'gone' },
        },
      ])
      expect(JSON.stringify(data)).not.toContain('secret"')
      const line = system.log.map((line) => JSON.parse(line)).findLast(({ msg }) => msg === 'webhook endpoint disabled')
      expect(line).toMatchObject({ level: 40, endpoint_id: endpoint.id, reason: 'gone' })

      await place(1)
      await system.dispatch()
      expect(receiver.received).toHaveLength(1)
      receiver.answer = () => ({ status: 200 })
      await system.orders.patch(path(endpoint.id), { status: 'enabled' })
      await system.dispatch()
      expect(shown(receiver.received.filter(({ event }) => event.resource.id === order?.id))).toEqual([
        ['order.placed', 1],
        ['order.placed', 1],
        ['order.confirmed', 2],
      ])
      expect(receiver.received).toHaveLength(4)
    })

    it.each([429, 502, 503, 504])('when a %i has Retry-After, then the endpoint pauses so long', async (status) => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = () => ({ status, headers: { 'retry-after': '3600' } })
      await place(1)
      await system.dispatch()
      const { paused_until } = await endpointOf(endpoint.id)
      const now = Date.parse(`${(await readClock(system.db)).replace(' ', 'T')}Z`)
      expect(Math.abs(Date.parse(paused_until) - now - 3_600_000)).toBeLessThan(60_000)
      receiver.answer = () => ({ status: 200 })
      await passRetryPauses(system, endpoint.id)
      await place(1)
      await system.dispatch()
      expect(receiver.received).toHaveLength(1)
      await passPause(system, endpoint.id)
      await system.dispatch()
      expect(receiver.received).toHaveLength(3)
    })

    it('when the pause is asked for by a 500, or by nothing that is a time, then there is none', async () => {
      for (const [status, retryAfter] of [
        [500, '3600'],
        [503, 'soon'],
      ] as const) {
        const { receiver, endpoint } = await newEndpoint(system)
        receiver.answer = () => ({ status, headers: { 'retry-after': retryAfter } })
        await place(1)
        await system.dispatch()
        expect(await endpointOf(endpoint.id)).toMatchObject({ paused_until: null })
      }
    })

    it('when its URL is changed or it is enabled, then a pause is over', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = () => ({ status: 429, headers: { 'retry-after': '60' } })
      await place(1)
      await system.dispatch()
      const change = (fields: object) => system.orders.patch(path(endpoint.id), fields)
      expect((await change({ description: 'x' })).body.paused_until).not.toBeNull()
      expect((await change({ url: `${receiver.url}/2` })).body.paused_until).toBeNull()
    })

    it('when a delivery is exhausted and nothing succeeded for days, then it is disabled', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = () => ({ status: 500 })
      await place(1)
      await useUpAttempts(endpoint.id)
      await setEndpoint(endpoint.id, { enabled_at: await hoursAgo(121) })
      await system.dispatch()
      expect(await endpointOf(endpoint.id)).toMatchObject({ status: 'disabled', disabled_reason: 'failing' })
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ status: 'failed', tries: 10 }])
      const { data } = (await system.orders.get(`/events?resource=webhook_endpoint:${endpoint.id}`)).body
      expect(data).toMatchObject([{ type: 'webhook_endpoint.disabled', data: { reason: 'failing' } }])
    })

    it.each([
      [
        'it had a success since',
        async () => ({ enabled_at: await hoursAgo(300), last_success_at: await hoursAgo(119) }),
      ],
      ['it was enabled since', async () => ({ enabled_at: await hoursAgo(119), last_success_at: await hoursAgo(300) })],
    ])('when a delivery is exhausted, but %s, then it stays enabled', async (_, columns) => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = () => ({ status: 500 })
      await place(1)
      await useUpAttempts(endpoint.id)
      await setEndpoint(endpoint.id, await columns())
      await system.dispatch()
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ status: 'failed' }])
      expect(await endpointOf(endpoint.id)).toMatchObject({ status: 'enabled' })
    })

    it('when something succeeds, then the endpoint shows when', async () => {
      const { endpoint } = await newEndpoint(system)
      await place(1)
      await system.dispatch()
      const [{ finished_at }] = await deliveriesOf(system, endpoint.id)
      expect(await endpointOf(endpoint.id)).toMatchObject({ last_success_at: finished_at, version: 1 })
    })
  })

  describe('how many at once', () => {
    it('when several dispatchers send to one endpoint, then at most four are on their way', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const held = holdAnswers(receiver, 3)
      await place(20)
      const dispatching = [1, 2, 3].map(() => system.dispatch())
      await expect.poll(() => held.now, POLL).toBe(4)
      expect(await countInFlight(system.db, endpoint.id, await readClock(system.db))).toBe(4)
      held.release()
      await Promise.all(dispatching)
      await system.dispatch()
      expect(held.most).toBe(4)
      expect(new Set(receiver.taken).size).toBe(20)
      expect(receiver.received).toHaveLength(20)
    })

    it('when many endpoints keep their answers back, then at most 32 are on their way', async () => {
      const endpoints = await Promise.all(Array.from({ length: 12 }, () => newEndpoint(system)))
      const held = endpoints.map(({ receiver }) => holdAnswers(receiver, 1))
      const now = () => held.reduce((sum, { now }) => sum + now, 0)
      await place(6)
      const dispatching = system.dispatch()
      await expect.poll(now, POLL).toBe(32)
      // What has its turn next would come now.
      await place(1)
      await expect.poll(now, POLL).toBe(32)
      for (const { release } of held) release()
      await dispatching
      await system.dispatch()
      for (const { receiver } of endpoints) expect(receiver.received).toHaveLength(7)
    })

    it('when many endpoints never answer, then another one gets everything meanwhile', async () => {
      const silent = await Promise.all(Array.from({ length: 10 }, () => newEndpoint(system)))
      const held = silent.map(({ receiver }) => holdAnswers(receiver))
      const fast = await newEndpoint(system)
      await place(6, ['confirm'])
      const controller = new AbortController()
      const dispatching = system.dispatch(controller.signal)
      await expect.poll(() => fast.receiver.taken.length, POLL).toBe(12)
      await place(2)
      await expect.poll(() => fast.receiver.taken.length, POLL).toBe(14)
      for (const { now } of held) expect(now).toBe(1)
      controller.abort()
      await dispatching
    })

    it('when an endpoint has what it may have, then the database has rest', async () => {
      const { receiver } = await newEndpoint(system)
      const held = holdAnswers(receiver)
      await place(10)
      const transactions = vi.spyOn(system.db, 'transaction')
      onTestFinished(() => transactions.mockRestore())
      const dispatching = [
        system.dispatch(),
        system.dispatch(),
        system.dispatch(),
        system.dispatch(),
        system.dispatch(),
      ]
      await expect.poll(() => held.now, POLL).toBe(4)
      transactions.mockClear()
      const since = performance.now()
      await expect.poll(() => performance.now() - since, POLL).toBeGreaterThan(1_000)
      expect(transactions.mock.calls.length).toBeLessThanOrEqual(20)
      held.release()
      await Promise.all(dispatching)
    })
  })

  describe('the order of events', () => {
    it('when several dispatchers send to several receivers that fail, then each order is in order', async () => {
      const random = randomOf(20_261_127, 'failures')
      const endpoints = [await newEndpoint(system), await newEndpoint(system)]
      for (const { receiver } of endpoints) {
        receiver.answer = () => ({ status: random.chance(0.35) ? random.oneOf(500, 404, 503) : 200 })
      }
      const orders = await place(8, ['confirm', 'cancel'])
      const isDone = async () => {
        const pending = await Promise.all(
          endpoints.map(({ endpoint }) => deliveriesOf(system, endpoint.id, '&status=pending')),
        )
        return pending.flat().length === 0
      }
      for (let round = 0; round < 60 && (round === 0 || !(await isDone())); round++) {
        for (const { endpoint } of endpoints) await passRetryPauses(system, endpoint.id)
        await Promise.all([1, 2, 3].map(() => system.dispatch()))
      }
      for (const { receiver, endpoint } of endpoints) {
        receiver.verifyAll(endpoint.secret)
        const taken = [...new Set(receiver.taken)].map(
          (id) => receiver.received.find(({ event }) => event.id === id)?.event,
        )
        for (const { id } of orders) {
          const versions = taken.filter((event) => event?.resource.id === id).map((event) => event?.resource.version)
          expect(versions).toEqual([1, 2, 3])
        }
        expect(taken).toHaveLength(24)
      }
    })

    it('when events come while earlier ones are on their way, then they wait for these', async () => {
      const { receiver } = await newEndpoint(system)
      const held = holdAnswers(receiver)
      const [order] = await place(1)
      const dispatching = system.dispatch()
      await expect.poll(() => held.now, POLL).toBe(1)
      await system.orders.post(`/orders/${order?.id}/confirm`, undefined, { headers: { 'idempotency-key': newKey() } })
      await place(1)
      const others = [system.dispatch(), system.dispatch()]
      await expect.poll(() => held.now, POLL).toBe(2)
      expect(receiver.received.filter(({ event }) => event.resource.id === order?.id)).toHaveLength(1)
      held.release()
      await Promise.all([dispatching, ...others])
      await system.dispatch()
      expect(shown(receiver.received.filter(({ event }) => event.resource.id === order?.id))).toEqual([
        ['order.placed', 1],
        ['order.confirmed', 2],
      ])
    })
  })

  describe('what is cut off', () => {
    const OK: Ended['result'] = { status: 200, error: null, retryAfter: null, durationMs: 1, excerpt: 'ok' }
    const RULES = { disableAfterHours: 120 }

    it('when a dispatcher ends between claim and result, then another sends it once the lease is over', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      await place(1)
      await system.orders.get('/events?limit=1')
      const work = await workOnEndpoint(system.db, endpoint.id, [], 4, RULES)
      expect(work?.leased).toHaveLength(1)
      await system.dispatch()
      expect(receiver.received).toEqual([])
      await endLeases(system, endpoint.id)
      await system.dispatch()
      expect(receiver.received).toHaveLength(1)

      const late = (work?.leased ?? []).map((delivery) => ({ delivery, lease: work?.lease ?? '', result: OK }))
      const before = await deliveriesOf(system, endpoint.id)
      await workOnEndpoint(system.db, endpoint.id, late, 0, RULES)
      expect(await deliveriesOf(system, endpoint.id)).toEqual(before)
      expect(await attemptsOf(system, before[0].id)).toHaveLength(1)
    })

    it('when the lease is over and another has the delivery, then a late result changes nothing', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      await place(1)
      await system.orders.get('/events?limit=1')
      const work = await workOnEndpoint(system.db, endpoint.id, [], 4, RULES)
      await endLeases(system, endpoint.id)
      const held = holdAnswers(receiver)
      const dispatching = system.dispatch()
      await expect.poll(() => held.now, POLL).toBe(1)
      const late = (work?.leased ?? []).map((delivery) => ({
        delivery,
        lease: work?.lease ?? '',
        result: { ...OK, status: 410 },
      }))
      await workOnEndpoint(system.db, endpoint.id, late, 0, RULES)
      expect(await endpointOf(endpoint.id)).toMatchObject({ status: 'enabled' })
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ status: 'pending', tries: 0 }])
      held.release()
      await dispatching
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ status: 'succeeded', tries: 1 }])
    })

    it('when the process stops, then what is on its way is given back, and no attempt counts', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const held = holdAnswers(receiver, 1)
      await place(6)
      const controller = new AbortController()
      const dispatching = system.dispatch(controller.signal)
      await expect.poll(() => held.now, POLL).toBe(4)
      controller.abort()
      await dispatching
      const pending = await deliveriesOf(system, endpoint.id, '&status=pending')
      expect(pending).toHaveLength(5)
      for (const delivery of pending) {
        expect(delivery).toMatchObject({ tries: 0, next_attempt_at: expect.any(String) })
        expect(await attemptsOf(system, delivery.id)).toEqual([])
      }
      expect(await countInFlight(system.db, endpoint.id, await readClock(system.db))).toBe(0)
      held.release()
      receiver.answer = () => ({ status: 200 })
      await system.dispatch()
      expect(await deliveriesOf(system, endpoint.id, '&status=pending')).toEqual([])
    })

    it('when the process stops before it began, then nothing is claimed', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      await place(1)
      await system.dispatch(AbortSignal.abort())
      expect(receiver.received).toEqual([])
      expect(await deliveriesOf(system, endpoint.id)).toEqual([])
    })

    it('when the answer of a commit is lost, then each event is sent once, and counts once', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = () => {
        loseNextCommit(system.db)
        return { status: receiver.received.length === 1 ? 500 : 200 }
      }
      await place(1, ['confirm'])
      await system.orders.get('/events?limit=1')
      loseNextCommit(system.db)
      await system.dispatch()
      expect(shown(receiver.received)).toEqual([['order.placed', 1]])
      const [, placed] = await deliveriesOf(system, endpoint.id)
      expect(placed).toMatchObject({ status: 'pending', tries: 1 })
      expect(await attemptsOf(system, placed.id)).toHaveLength(1)
      await passRetryPauses(system, endpoint.id)
      await system.dispatch()
      expect(shown(receiver.received)).toEqual([
        ['order.placed', 1],
        ['order.placed', 1],
        ['order.confirmed', 2],
      ])
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([
        { status: 'succeeded', tries: 1 },
        { status: 'succeeded', tries: 2 },
      ])
    })

    it('when the database fails while a result is noted, then it is noted later', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = () => {
        const refused = Object.assign(new Error('the disk is broken'), { errno: 1 })
        const spy = vi.spyOn(system.db, 'transaction').mockImplementationOnce(() => {
          spy.mockRestore()
          throw refused
        })
        return { status: 200 }
      }
      await place(1)
      await system.orders.get('/events?limit=1')
      await system.dispatch()
      expect(receiver.received).toHaveLength(1)
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ status: 'succeeded', tries: 1 }])
      expect(errors().at(-1)).toMatchObject({
        endpoint_id: endpoint.id,
        msg: expect.stringContaining('could not be noted'),
      })
    })

    it('when events can not be read, then what was claimed is given back', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const [order] = await place(1)
      const ofOrder = system.db
        .selectFrom('events')
        .select(['id', 'data'])
        .where('resource_type', '=', 'order')
        .where('resource_id', '=', order?.id ?? 0)
      const { id, data } = await ofOrder.executeTakeFirstOrThrow()
      const setData = (text: string) =>
        system.db.updateTable('events').set({ data: text }).where('id', '=', id).execute()
      await setData('{')
      const controller = new AbortController()
      const dispatching = system.dispatch(controller.signal)
      const isTold = () =>
        errors().some(({ msg, endpoint_id }) => /could not be read/.test(msg) && endpoint_id === endpoint.id)
      await expect.poll(isTold, POLL).toBe(true)
      await setData(data)
      await expect.poll(() => receiver.taken.length, POLL).toBe(1)
      controller.abort()
      await dispatching
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ status: 'succeeded', tries: 1 }])
    })

    it('when the database fails while it looks, then what is on its way is still noted', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const held = holdAnswers(receiver)
      await place(1)
      const dispatching = system.dispatch()
      await expect.poll(() => held.now, POLL).toBe(1)
      const spy = vi.spyOn(system.db, 'selectFrom').mockImplementation(() => {
        throw new Error('the disk is broken')
      })
      await expect.poll(() => errors().some(({ msg }) => /could not be seen/.test(msg)), POLL).toBe(true)
      spy.mockRestore()
      held.release()
      await dispatching
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ status: 'succeeded', tries: 1 }])
    })
  })

  describe('what changes while something is on its way', () => {
    it('when the endpoint is deleted, then the result is dropped without a fault', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const held = holdAnswers(receiver)
      await place(1)
      const dispatching = system.dispatch()
      await expect.poll(() => held.now, POLL).toBe(1)
      const before = errors().length
      await system.orders.delete(path(endpoint.id))
      await system.sweep()
      held.release()
      await dispatching
      expect(errors()).toHaveLength(before)
    })

    it('when the endpoint is disabled, then the result counts, and nothing else is sent', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      const held = holdAnswers(receiver)
      await place(1, ['confirm'])
      const dispatching = system.dispatch()
      await expect.poll(() => held.now, POLL).toBe(1)
      await system.orders.patch(path(endpoint.id), { status: 'disabled' })
      held.release()
      await dispatching
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([
        { event_type: 'order.confirmed', status: 'pending', tries: 0 },
        { event_type: 'order.placed', status: 'succeeded' },
      ])
      expect(receiver.received).toHaveLength(1)
      await system.orders.patch(path(endpoint.id), { status: 'enabled' })
      await system.dispatch()
      expect(receiver.received).toHaveLength(2)
    })

    it('when events are deleted, then their deliveries fail at once, and the next goes', async () => {
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = () => ({ status: 500 })
      await place(1, ['confirm'])
      await system.dispatch()
      const [, placed] = await deliveriesOf(system, endpoint.id)
      await system.db
        .deleteFrom('events')
        .where('id', '=', Number(placed.event_id.slice('evt_'.length)))
        .execute()
      await setEndpoint(endpoint.id, { enabled_at: await hoursAgo(300) })
      receiver.answer = () => ({ status: 200 })
      await passRetryPauses(system, endpoint.id)
      await system.dispatch()
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([
        { event_type: 'order.confirmed', status: 'succeeded' },
        { event_type: 'order.placed', status: 'failed', tries: 2 },
      ])
      const [, last] = await attemptsOf(system, placed.id)
      expect(last).toMatchObject({ status: null, error: 'event_deleted' })
      expect(await endpointOf(endpoint.id)).toMatchObject({ status: 'enabled' })
      expect(shown(receiver.received)).toEqual([
        ['order.placed', 1],
        ['order.confirmed', 2],
      ])
    })

    it('when personal data is erased, then a later attempt does not send it', async () => {
      const [{ id: customer_id }, { id: product_id }] = [await newCustomer(system), await newProduct(system)]
      const { receiver, endpoint } = await newEndpoint(system)
      receiver.answer = () => ({ status: 500 })
      const word = newWord()
      await newOrder(system, [{ product_id, qty: 1 }], { customer_id, notes: `Ask for ${word}` })
      await system.dispatch()
      expect(receiver.received[0]?.body).toContain(word)
      expect((await system.customers.post(`/customers/${customer_id}/erase`)).status).toBe(204)
      await passRetryPauses(system, endpoint.id)
      await system.dispatch()
      expect(receiver.received).toHaveLength(2)
      expect(receiver.received[1]?.body).not.toContain(word)
    })

    it('when old deliveries are swept, then one that was asked for again stays', async () => {
      await system.sweep()
      const { receiver, endpoint } = await newEndpoint(system)
      await place(2)
      await system.dispatch()
      const old = { finished_at: await hoursAgo(24 * 30 + 1) }
      await system.db.updateTable('webhook_deliveries').set(old).where('endpoint_id', '=', endpoint.id).execute()
      const [{ id }] = await deliveriesOf(system, endpoint.id)
      await system.orders.post(`/webhook-deliveries/${id}/redeliver`)
      expect(await system.sweep()).toMatchObject({ deliveries: 1 })
      expect(await deliveriesOf(system, endpoint.id)).toMatchObject([{ id, status: 'pending' }])
      await system.dispatch()
      expect(receiver.received).toHaveLength(3)
      expect(await system.sweep()).not.toHaveProperty('deliveries')
    })
  })
})
