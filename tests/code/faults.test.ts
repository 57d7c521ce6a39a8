import { createServer } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import { check, checkHeard, type FinalState, type StoredOrder, type Violation } from '../../faults/checker.ts'
import { SkewedClock } from '../../faults/clock.ts'
import { type HistoryEntry, newEntry, type OperationKind, recordCompletion } from '../../faults/history.ts'
import { createSender, type Reply } from '../../faults/http.ts'
import type { HeardEvent } from '../../faults/listener.ts'
import { planFaults, planNodeKills } from '../../faults/schedule.ts'
import { listen } from '../../testing/listen.ts'
import { openProxy } from '../../testing/proxy.ts'
import { randomOf } from '../../testing/random.ts'

const MARK = 900

/** An entry with these completions, one for each invocation. */
function entry(kind: OperationKind, serial: number, ...answers: [status: number, body: object][]): HistoryEntry {
  return withPo(undefined, kind, serial, ...answers)
}

/** @param text the PO number that its order was to get */
function withPo(
  text: string | undefined,
  kind: OperationKind,
  serial: number,
  ...answers: [status: number, body: object][]
): HistoryEntry {
  const po = text === undefined ? undefined : { customerId: 1, text }
  const made = newEntry(kind, `${kind}-${serial}`, { serial, po })
  answers.forEach(([status, body], i) => {
    made.invocations++
    recordCompletion(made, { status, body: JSON.stringify(body) }, 10 * i, 10 * i + 5)
  })
  return made
}

function order(
  id: number,
  serial: number,
  status: StoredOrder['status'],
  more: Partial<StoredOrder> = {},
): StoredOrder {
  const placed = { totalCents: 100, customerId: 1, poNumber: null }
  return { id, serial, status, wasConfirmed: status === 'CONFIRMED', ...placed, ...more }
}

function answered(id: number, serial: number, status: StoredOrder['status']) {
  return {
    id,
    status,
    total_cents: 100,
    items: [
      { product_id: 1, qty: 1 },
      { product_id: MARK, qty: serial },
    ],
  }
}

function orchestrated(id: number, serial: number, correlationId = 'c') {
  return { success: true, correlationId, data: { order: answered(id, serial, 'CONFIRMED') } }
}

const CREATED: [number, object] = [201, answered(5, 7, 'CREATED')]
const CONFIRMED: [number, object] = [200, answered(5, 7, 'CONFIRMED')]
const CANCELED: [number, object] = [200, answered(5, 7, 'CANCELED')]
const NO_STOCK: [number, object] = [409, { code: 'insufficient_stock' }]
const NAMED: [number, object] = [201, { ...answered(5, 7, 'CREATED'), po_number: 'A' }]
const takenBy = (order_id: number): [number, object] => [409, { code: 'po_number_taken', order_id }]

function kindsOf(entries: HistoryEntry[], orders: StoredOrder[], others: FinalState['others'] = []): string[] {
  return check(entries, { orders, others, events: [] }, [MARK]).map(({ kind }) => kind)
}

describe('the judgement of a fault run', () => {
  it.each<[string, HistoryEntry[], StoredOrder[]]>([
    [
      'an order was placed and confirmed',
      [entry('place', 7, CREATED), entry('confirm', 7, CONFIRMED)],
      [order(5, 7, 'CONFIRMED')],
    ],
    [
      'all tries of a key were told the same',
      [entry('orchestrate', 7, [201, orchestrated(5, 7)], [201, orchestrated(5, 7)])],
      [order(5, 7, 'CONFIRMED')],
    ],
    ['one that nobody confirmed has expired', [entry('place', 7, CREATED)], [order(5, 7, 'CANCELED')]],
    [
      'one was placed and confirmed at once',
      [entry('place confirmed', 7, [201, answered(5, 7, 'CONFIRMED')])],
      [order(5, 7, 'CONFIRMED')],
    ],
    ['one was refused, and is not there', [entry('place', 7, NO_STOCK)], []],
    ['one was refused before it was placed', [entry('place', 7, NO_STOCK, CREATED)], [order(5, 7, 'CREATED')]],
    [
      'a confirmed one was canceled',
      [entry('place', 7, CREATED), entry('confirm', 7, CONFIRMED), entry('cancel', 7, CANCELED)],
      [order(5, 7, 'CANCELED', { wasConfirmed: true })],
    ],
  ])('when %s, then nothing is wrong', (_, entries, orders) => {
    expect(kindsOf(entries, orders)).toEqual([])
  })

  it.each<[string, string, HistoryEntry[], StoredOrder[]]>([
    ['is not there', 'lost', [entry('place', 7, CREATED)], []],
    ['has another total', 'lost', [entry('place', 7, CREATED)], [order(5, 7, 'CREATED', { totalCents: 101 })]],
    ['is under another id', 'lost', [entry('place', 7, CREATED)], [order(6, 7, 'CREATED')]],
    [
      'is still not confirmed',
      'lost',
      [entry('place', 7, CREATED), entry('confirm', 7, CONFIRMED)],
      [order(5, 7, 'CREATED')],
    ],
    [
      'was confirmed, and then canceled by nobody',
      'lost',
      [entry('place', 7, CREATED), entry('confirm', 7, CONFIRMED)],
      [order(5, 7, 'CANCELED', { wasConfirmed: true })],
    ],
    [
      'was canceled, and is not',
      'lost',
      [entry('place', 7, CREATED), entry('cancel', 7, CANCELED)],
      [order(5, 7, 'CREATED')],
    ],
    [
      'is that of another caller',
      'lost',
      [entry('place', 7, [201, answered(5, 8, 'CREATED')])],
      [order(5, 7, 'CREATED')],
    ],
    ['is there twice', 'doubled', [entry('place', 7, CREATED)], [order(5, 7, 'CREATED'), order(6, 7, 'CREATED')]],
    [
      'was placed twice, once in vain',
      'doubled',
      [entry('place', 7, CREATED)],
      [order(5, 7, 'CREATED'), order(6, 7, 'CANCELED')],
    ],
    [
      'was told in two ways',
      'differing',
      [entry('orchestrate', 7, [201, orchestrated(5, 7)], [201, orchestrated(5, 7, 'd')])],
      [order(5, 7, 'CONFIRMED')],
    ],
    ['was refused afterwards', 'taken back', [entry('place', 7, CREATED, NO_STOCK)], [order(5, 7, 'CREATED')]],
    ['was confirmed by nobody', 'unasked', [entry('place', 7, CREATED)], [order(5, 7, 'CONFIRMED')]],
    ['was refused, and is there', 'unasked', [entry('place', 7, NO_STOCK)], [order(5, 7, 'CREATED')]],
    ['never got an answer', 'unanswered', [entry('place', 7)], []],
    ['was refused for no reason', 'wrongly refused', [entry('place', 7, [404, { code: 'not_found' }])], []],
  ])('when an order %s, then that is %s', (_, kind, entries, orders) => {
    expect(new Set(kindsOf(entries, orders))).toEqual(new Set([kind]))
  })

  it.each<[string, StoredOrder[]]>([
    ['has it', [order(5, 7, 'CREATED', { poNumber: 'A' })]],
    ['had it', [order(5, 7, 'CANCELED', { poNumber: 'A' })]],
  ])('when an order is refused for the PO number of one that %s, then nothing is wrong', (_, orders) => {
    expect(kindsOf([withPo(' A ', 'place', 7, NAMED), withPo('a', 'place', 8, takenBy(5))], orders)).toEqual([])
  })

  it.each<[string, StoredOrder]>([
    ['is another one', order(5, 7, 'CREATED', { poNumber: 'B' })],
    ['is of another customer', order(5, 7, 'CREATED', { poNumber: 'A', customerId: 2 })],
    ["is the caller's own", order(5, 8, 'CREATED', { poNumber: 'A' })],
    ['is not there', order(6, 7, 'CREATED', { poNumber: 'A' })],
  ])('when an order is refused for a PO number and the order that it names %s, then wrongly', (_, named) => {
    expect(kindsOf([withPo('a', 'place', 8, takenBy(5)), entry('place', 7)], [named])).toContain('wrongly refused')
  })

  it('when two live orders of a customer have a PO number, then that is doubled', () => {
    const entries = [withPo('A', 'place', 7, NAMED), withPo('a', 'place', 8)]
    const other = (more: Partial<StoredOrder>) => order(6, 8, 'CREATED', { poNumber: 'a', ...more })
    const kindsWith = (second: StoredOrder) => kindsOf(entries, [order(5, 7, 'CREATED', { poNumber: 'A' }), second])
    expect(kindsWith(other({}))).toEqual(['unanswered', 'doubled'])
    expect(kindsWith(other({ customerId: 2 }))).toEqual(['unanswered'])
    expect(kindsWith(other({ status: 'CANCELED' }))).toEqual(['unanswered'])
  })

  it('when an order does not have the PO number that it was to get, then it is lost', () => {
    expect(kindsOf([withPo('A', 'place', 7, NAMED)], [order(5, 7, 'CREATED')])).toEqual(['lost'])
    expect(kindsOf([withPo('A', 'place', 7, CREATED)], [order(5, 7, 'CREATED', { poNumber: 'A' })])).toEqual(['lost'])
  })

  it.each<[OperationKind, object]>([
    ['orchestrate', orchestrated(6, 7)],
    ['place confirmed', answered(6, 7, 'CONFIRMED')],
  ])('when %s leaves an order that was never confirmed, then it is unasked', (kind, answer) => {
    const orders = [order(5, 7, 'CANCELED'), order(6, 7, 'CONFIRMED')]
    expect(kindsOf([entry(kind, 7, [201, answer])], orders)).toEqual(['doubled', 'unasked'])
    expect(kindsOf([entry(kind, 7)], [order(5, 7, 'CREATED')])).toEqual(['unanswered', 'unasked'])
  })

  it('when an order is there that nobody knows of, then it is unasked', () => {
    expect(kindsOf([], [order(5, 7, 'CREATED')])).toEqual(['unasked'])
    expect(kindsOf([], [order(5, 7, 'CREATED', { serial: undefined })])).toEqual(['unasked'])
  })

  it('when what is no order is missing or there twice, then that is seen', () => {
    const adding = newEntry('add customer', 'customer-1', { name: 'a@example.com' })
    recordCompletion(adding, { status: 201, body: '{"id":4}' }, 0, 1)
    const kept = (...ids: number[]) => ids.map((id) => ({ id, name: 'a@example.com' }))
    expect(kindsOf([adding], [], kept(4))).toEqual([])
    expect(kindsOf([adding], [], kept())).toEqual(['lost'])
    expect(kindsOf([adding], [], kept(4, 5))).toEqual(['doubled'])
  })
})

describe('the judgement of what a listener heard', () => {
  const event = (position: number, type: string, id: number, more: Partial<HeardEvent> = {}): HeardEvent => {
    return { id: `evt_${position}`, position, type, resource: { type: 'order', id, version: 1 }, ...more }
  }
  const FEED = [
    event(1, 'customer.created', 4),
    event(2, 'order.placed', 5, { status: 'CREATED' }),
    event(3, 'product.stock_adjusted', 1, { adjustment: 8 }),
    event(4, 'order.confirmed', 5, { status: 'CONFIRMED' }),
    event(5, 'order.canceled', 5, { status: 'CANCELED' }),
  ]
  const named = (kind: OperationKind, id: number) => {
    const adding = newEntry(kind, kind, { name: kind })
    recordCompletion(adding, { status: 201, body: JSON.stringify({ id }) }, 0, 1)
    return adding
  }
  const ENTRIES = [
    entry('place', 7, CREATED),
    entry('confirm', 7, CONFIRMED),
    entry('cancel', 7, CANCELED),
    entry('place', 8, NO_STOCK),
    named('adjust', 8),
    named('add customer', 4),
  ]

  const inWords = (violations: Violation[]) => violations.map(({ kind, key }) => `${kind}: ${key}`)

  function heardAs(heard: HeardEvent[], entries = ENTRIES, events = FEED): string[] {
    const reader = { name: 'reader', promise: 'once', begin: 0, wants: () => true, heard } as const
    return inWords(checkHeard(entries, { events }, reader))
  }

  /** By one who is told of orders, each event at least once. */
  function takenAs(heard: HeardEvent[], events: HeardEvent[]): string[] {
    const wants = (type: string) => type.startsWith('order.')
    return inWords(checkHeard([], { events }, { name: 'receiver', promise: 'at least once', begin: 0, wants, heard }))
  }

  it('when it heard all, then nothing is wrong', () => {
    expect(heardAs(FEED)).toEqual([])
    expect(heardAs(FEED, ENTRIES, [...FEED, event(6, 'order.placed', 6)])).toEqual([])
    const orchestratedOne = event(1, 'order.placed', 5, { status: 'CONFIRMED' })
    const [orchestrating] = [entry('orchestrate', 7, [201, orchestrated(5, 7)])]
    expect(heardAs([orchestratedOne], [orchestrating], [orchestratedOne])).toEqual([])
  })

  it.each<[string, HeardEvent[], string[]]>([
    ['heard the end not yet', FEED.slice(0, 4), ['untold: cancel-7']],
    ['missed one', FEED.toSpliced(2, 1), ['misheard: reader', 'untold: adjust']],
    ['heard one twice', FEED.toSpliced(2, 0, ...FEED.slice(1, 2)), ['misheard: reader']],
    ['heard them in another order', FEED.toReversed(), ['misheard: reader']],
    ['heard one that is not there', [...FEED, event(6, 'order.placed', 6)], ['misheard: reader']],
    ['heard nothing of a customer', FEED.toSpliced(0, 1), ['misheard: reader', 'untold: add customer']],
  ])('when it %s, then that is seen', (_, heard, seen) => {
    expect(heardAs(heard)).toEqual(seen)
  })

  it('when an order is told in another state, or the feed has a gap, then that is seen', () => {
    const created = FEED.with(3, event(4, 'order.confirmed', 5, { status: 'CREATED' }))
    expect(heardAs(created, ENTRIES, created)).toEqual(['untold: confirm-7'])
    const gap = FEED.with(4, event(6, 'order.canceled', 5, { status: 'CANCELED' }))
    expect(heardAs(gap, ENTRIES, gap)).toEqual(['misheard: the feed'])
  })

  describe('whom each event is told at least once', () => {
    const version = (position: number, id: number, version: number): HeardEvent => {
      return { ...event(position, 'order.updated', id), resource: { type: 'order', id, version } }
    }
    const [a1, other, b1, a2, b2] = [
      version(1, 5, 1),
      event(2, 'product.updated', 1),
      version(3, 6, 1),
      version(4, 5, 2),
      version(5, 6, 2),
    ]
    const events = [a1, other, b1, a2, b2]

    it.each<[string, HeardEvent[]]>([
      ['all in the order of the feed', [a1, b1, a2, b2]],
      ['each order in its own order', [b1, b2, a1, a2]],
      ['some again', [a1, b1, a1, a2, b1, b2, a1]],
      ['the end not yet', [a1, b1, a2]],
    ])('when it heard %s, then nothing is wrong', (_, heard) => {
      expect(takenAs(heard, events)).toEqual([])
    })

    it.each<[string, HeardEvent[]]>([
      ['an order in another order', [a2, a1, b1, b2]],
      ['one of an order not', [a1, b1, b2]],
      ['nothing of an order', [b1, b2]],
      ['one that nobody sent', [a1, b1, a2, b2, version(6, 6, 3)]],
      ['what it did not ask for', [a1, other, b1, a2, b2]],
    ])('when it heard %s, then that is seen', (_, heard) => {
      expect(
        takenAs(
          heard.map((it, i) => ({ ...it, id: `${it.id}${it === other ? i : ''}` })),
          events,
        ),
      ).toEqual(['misheard: receiver'])
    })
  })
})

describe('the choices of a fault run', () => {
  it('when the seed is the same, then so are they, and else they are not', () => {
    const planned = (seed: number) => planFaults('mysql', 60_000, 32, randomOf(seed, 'faults'))
    expect(planned(1)).toEqual(planned(1))
    expect(planned(1)).not.toEqual(planned(2))
    const kinds = new Set(planned(1).map(({ fault }) => fault.kind))
    expect(kinds).toContain('kill at')
    expect(kinds).toContain('swallow')
  })

  it('when ten minutes are planned, then they hold more than 50 kills and 200 faults of the network', () => {
    const planned = planFaults('mysql', 600_000, 32, randomOf(3, 'faults'))
    const kills = planned.filter(({ fault }) => fault.kind.startsWith('kill'))
    expect(kills.length).toBeGreaterThan(75)
    expect(planned.length - kills.length).toBeGreaterThan(300)
  })
})

describe('the kills of a cluster', () => {
  it('when there are as many as nodes, then each node is killed once', () => {
    const planned = planNodeKills(180_000, 60_000, 3, randomOf(1, 'faults'))
    expect(planned.map(({ atMs }) => atMs)).toEqual([30_000, 90_000, 150_000])
    expect(new Set(planned.map(({ fault }) => 'node' in fault && fault.node))).toEqual(new Set([0, 1, 2]))
  })
})

describe('a proxy', () => {
  const ANSWER = 'an answer of some length'

  /** A service that answers everything, and a caller of it through a proxy. */
  async function callThroughProxy() {
    let asked = 0
    const server = createServer((request, response) => {
      asked++
      request.resume().on('end', () => response.end(ANSWER))
    })
    const port = await listen(server)
    const proxy = await openProxy({ host: '127.0.0.1', port })
    onTestFinished(async () => {
      await proxy.close()
      server.closeAllConnections()
      server.close()
    })
    const send = createSender([{ customers: proxy.port, orders: proxy.port, orchestrator: proxy.port }], 'token')
    const clock = new SkewedClock()
    const ask = (limitMs = 5_000): Promise<Reply> =>
      send({ service: 'orders', path: '/orders', headers: {}, body: {} }, clock, limitMs)
    return { proxy, ask, clock, asked: () => asked }
  }

  it('when nothing is broken, then answers come', async () => {
    const { ask } = await callThroughProxy()
    expect(await ask()).toEqual({ status: 200, body: ANSWER })
  })

  it.each([0, 1, 60])(
    'when an answer is cut after %i bytes, then the work is done and the caller does not know',
    async (cutAfter) => {
      const { proxy, ask, asked } = await callThroughProxy()
      proxy.watch({ texts: ['POST /orders '], at: 'answer', act: () => ({ cutAfter }) })
      expect(await ask()).toEqual({ failure: expect.any(String) })
      expect(asked()).toBe(1)
      expect(await ask()).toEqual({ status: 200, body: ANSWER })
    },
  )

  it.each([0, 1, 60])('when a request is cut after %i bytes, then the service never hears of it', async (cutAfter) => {
    const { proxy, ask, asked } = await callThroughProxy()
    proxy.watch({ texts: ['POST /orders '], at: 'departure', act: () => ({ cutAfter }) })
    expect(await ask()).toEqual({ failure: expect.any(String) })
    expect(asked()).toBe(0)
    expect(await ask()).toEqual({ status: 200, body: ANSWER })
  })

  it('when it is cut or half-closed, then the next connection works', async () => {
    const { proxy, ask } = await callThroughProxy()
    await ask()
    expect(proxy.cut()).toBe(1)
    await expectRecovery(ask)
    expect(proxy.halfClose('callers')).toBeGreaterThan(0)
    await expectRecovery(ask)
  })

  it('when it swallows, then callers hear nothing until it is over', async () => {
    const { proxy, ask, asked } = await callThroughProxy()
    proxy.swallow(60_000)
    expect(await ask(200)).toEqual({ failure: 'late' })
    expect(asked()).toBe(0)
    proxy.heal()
    await expectRecovery(ask)
  })

  it('when a clock jumps, then what waits by it is late at once', async () => {
    const { proxy, ask, clock } = await callThroughProxy()
    proxy.swallow(60_000)
    const waiting = ask(20_000)
    clock.jump(3_600_000)
    expect(await waiting).toEqual({ failure: 'late' })
  })

  it('when a request passes, then whoever watches for it hears of it, once', async () => {
    const { proxy, ask } = await callThroughProxy()
    let seen = 0
    proxy.watch({
      texts: ['POST /orders '],
      at: 'arrival',
      act() {
        seen++
        return 'pass'
      },
    })
    await ask()
    await ask()
    expect(seen).toBe(1)
  })

  /** A kept connection may be the broken one; a caller that tries again gets through. */
  async function expectRecovery(ask: () => Promise<Reply>): Promise<void> {
    const replies = [await ask(), await ask()]
    expect(replies).toContainEqual({ status: 200, body: ANSWER })
  }
})
