import fc from 'fast-check'
import type { Call, Caller, Seen } from './model.ts'

// Generates calls from what their caller knows when it makes them, so that a shrunk history is still valid.

export type Verb = (known: Known) => Call

/** What a caller has seen so far, and the words of its history. */
export interface Known {
  word: string
  customers: number[]
  products: number[]
  orders: number[]
  /** The latest order with a PO number that was placed. */
  named?: { id: number; customer_id: number; po_number: string; isEnded?: boolean }
  /** Calls with a key, which can be repeated. */
  keyed: Call[]
  /** By path, the latest last. */
  etags: Record<string, string[]>
}

/** Adds what a response shows. */
export function learn(known: Known, call: Call, { status, body, etag }: Seen): void {
  if ('key' in call && call.key !== undefined && call.verb !== 'expireKey') known.keyed.push(call)
  if (status === 201 && call.verb === 'createCustomer') add(known.customers, body.id)
  if (status === 201 && call.verb === 'createProduct') add(known.products, body.id)
  if (status === 201 && call.verb === 'placeOrder') add(known.orders, body.id)
  if (status === 201 && call.verb === 'placeOrder' && body.po_number !== null) known.named = body
  if (call.verb === 'endHold' && call.id === known.named?.id) known.named = { ...known.named, isEnded: true }
  if (status === 201 && call.verb === 'createAndConfirm') add(known.orders, body.data.order.id)
  if (status === 200 && call.verb === 'confirmOrder') touch(known.orders, body.id)
  if (status === 200 && call.verb === 'listOrders') for (const { id } of body.data) add(known.orders, id)
  if (etag === null) return
  const thing = `${kindOf(call)} ${body.id}`
  known.etags[thing] = [...(known.etags[thing] ?? []), etag]
}

function add(ids: number[], id: number): void {
  if (!ids.includes(id)) ids.push(id)
}

/** Moves the row that was used last to the end. */
function touch(ids: number[], id: number): void {
  if (ids.includes(id)) ids.splice(ids.indexOf(id), 1)
  ids.push(id)
}

function kindOf({ verb }: Call): 'customer' | 'order' | 'product' {
  if (verb.endsWith('Order')) return 'order'
  return verb.endsWith('Customer') ? 'customer' : 'product'
}

const NOBODY = 9_007_199_254_740_991

/** One of these ids, or an unknown id when there are none. */
function pick(ids: readonly number[], slot: number): number {
  return slot === NOBODY ? NOBODY : (ids[slot % ids.length] ?? NOBODY)
}

function latestFirst<T>(things: readonly T[]): T[] {
  return things.toReversed()
}

type IfMatch = 'seen last' | 'seen before' | 'any' | undefined

function etagOf({ etags }: Known, thing: string, which: IfMatch): string | undefined {
  if (which === undefined) return undefined
  if (which === 'any') return '*'
  return (etags[thing] ?? []).at(which === 'seen last' ? -1 : -2) ?? '"0"'
}

/** Words of this history alone, by which its rows are found. */
const ownWords = ({ word }: Known, ends: string[]) => ends.map((end) => `${word}${end}`).join(' ')
const ownMark = ({ word }: Known) => `of${word}`
const ownSku = (known: Known, slot: number) => `p${slot}-${ownMark(known)}`
const ownKey = ({ word }: Known, key: string | undefined) => key && `${word}-${key}`

function ownEmail(known: Known, slot: number, loud = false): string {
  const email = `c${slot}.${ownMark(known)}@example.com`
  return loud ? email.toUpperCase() : email
}

/** One product has stock for many orders. */
const FIRST_STOCK = [3, 6, 30]
const FIRST_LIMITS = [{ stock_low_at: 1 }, {}, { stock_low_at: 27 }]
const FIRST_POLICIES = ['unique', 'free', 'required'] as const

/** Each history begins with three customers and three products. */
export function firstCalls(known: Known): Call[] {
  const name = ownWords(known, ['red'])
  return FIRST_STOCK.flatMap((stock, slot): Call[] => [
    {
      verb: 'createCustomer',
      by: 'all',
      fields: { name, email: ownEmail(known, slot), po_policy: FIRST_POLICIES[slot] },
    },
    {
      verb: 'createProduct',
      by: 'all',
      fields: { sku: ownSku(known, slot), name, price_cents: 100, stock, ...FIRST_LIMITS[slot] },
    },
  ])
}

const by = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Caller>('all') },
  { weight: 2, arbitrary: fc.constant<Caller>('bound') },
  { weight: 1, arbitrary: fc.constant<Caller>('other') },
)
const mostlyAll = fc.oneof(
  { weight: 8, arbitrary: fc.constant<Caller>('all') },
  { weight: 2, arbitrary: fc.constantFrom<Caller[]>('bound', 'other') },
)
const few = fc.nat({ max: 2 })
const nobody = { weight: 1, arbitrary: fc.constant(NOBODY) }
const slot = fc.oneof({ weight: 20, arbitrary: few }, nobody)
/** One customer has many orders, and consecutive calls often use the same one. */
const mostlyFirst = fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, { weight: 8, arbitrary: few }, nobody)
const anyKey = fc.constantFrom('k1', 'k2', 'k3')
const key = fc.option(anyKey, { nil: undefined })
const mostlyKey = fc.option(anyKey, { nil: undefined, freq: 12 })
const ifMatch: fc.Arbitrary<IfMatch> = fc.constantFrom(undefined, 'seen last', 'seen last', 'seen before', 'any')
const ends = fc.array(fc.constantFrom('red', 'green', 'blue'), { minLength: 1, maxLength: 2 })
const searched = fc.constantFrom<(known: Known) => string>(
  ({ word }) => word,
  (known) => ownWords(known, ['green']),
  ownMark,
)
const limit = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 1, max: 2 }) },
  { weight: 1, arbitrary: fc.constant(100) },
)
const customer = fc.record({
  ends,
  email: fc.nat({ max: 4 }),
  loud: fc.boolean(),
  phone: fc.option(fc.constant('555-1234')),
  po_policy: fc.constantFrom(undefined, undefined, 'unique', 'free', 'required'),
})
const price = fc.constantFrom(100, 250, 0)
const stock = fc.nat({ max: 8 })
/** -1 takes the limit of a product away. */
const lowAt = fc.constantFrom(0, 1, 4, -1)
const items = fc.array(fc.record({ product: slot, qty: fc.integer({ min: 1, max: 3 }) }), {
  minLength: 1,
  maxLength: 4,
})

type Made<A> = A extends fc.Arbitrary<infer T> ? T : never

function fieldsOf(known: Known, { ends, email, loud, phone, po_policy }: Made<typeof customer>) {
  return { name: ownWords(known, ends), email: ownEmail(known, email, loud), ...(phone && { phone }), po_policy }
}

function linesOf({ products }: Known, lines: Made<typeof items>) {
  return lines.map(({ product, qty }) => ({ product_id: pick(products, product), qty }))
}

const createCustomer = fc.record({ by: mostlyAll, customer, key }).map(
  ({ by, customer, key }): Verb =>
    (known) => {
      return { verb: 'createCustomer', by, fields: fieldsOf(known, customer), key: ownKey(known, key) }
    },
)

const getCustomer = fc.record({ by, slot }).map(
  ({ by, slot }): Verb =>
    (known) => ({ verb: 'getCustomer', by, id: pick(known.customers, slot) }),
)

const replaceCustomer = fc.record({ by: mostlyAll, slot, customer, ifMatch }).map(
  ({ by, slot, customer, ifMatch }): Verb =>
    (known) => {
      const id = pick(known.customers, slot)
      const match = etagOf(known, `customer ${id}`, ifMatch)
      return { verb: 'replaceCustomer', by, id, fields: fieldsOf(known, customer), ifMatch: match }
    },
)

const deleteCustomer = fc.record({ by: mostlyAll, slot: fc.nat({ max: 4 }), ifMatch }).map(
  ({ by, slot, ifMatch }): Verb =>
    (known) => {
      // The newest first: the first ones have most orders.
      const id = pick(latestFirst(known.customers), slot)
      return { verb: 'deleteCustomer', by, id, ifMatch: etagOf(known, `customer ${id}`, ifMatch) }
    },
)

const searchCustomers = fc.record({ by, searched, limit }).map(
  ({ by, searched, limit }): Verb =>
    (known) => {
      return { verb: 'searchCustomers', by, search: searched(known), limit }
    },
)

const createProduct = fc.record({ by, sku: fc.nat({ max: 4 }), ends, price, stock, key, low: fc.nat({ max: 3 }) }).map(
  ({ by, sku, ends, price, stock, key, low }): Verb =>
    (known) => {
      const limit = low > 0 && { stock_low_at: low }
      const fields = { sku: ownSku(known, sku), name: ownWords(known, ends), price_cents: price, stock, ...limit }
      return { verb: 'createProduct', by, fields, key: ownKey(known, key) }
    },
)

const getProduct = fc.record({ by, slot }).map(
  ({ by, slot }): Verb =>
    (known) => ({ verb: 'getProduct', by, id: pick(known.products, slot) }),
)

const changeProduct = fc
  .record({
    by,
    slot,
    ends,
    price,
    stock,
    lowAt,
    which: fc.constantFrom('name', 'price', 'stock', 'limit', 'all'),
    ifMatch,
  })
  .map(
    ({ by, slot, ends, price, stock, lowAt, which, ifMatch }): Verb =>
      (known) => {
        const id = pick(known.products, slot)
        const change = {
          ...((which === 'name' || which === 'all') && { name: ownWords(known, ends) }),
          ...((which === 'price' || which === 'all') && { price_cents: price }),
          ...((which === 'stock' || which === 'all') && { stock }),
          ...((which === 'limit' || which === 'all') && { stock_low_at: lowAt }),
        }
        return { verb: 'changeProduct', by, id, change, ifMatch: etagOf(known, `product ${id}`, ifMatch) }
      },
  )

const adjustStock = fc.record({ by, slot, delta: fc.constantFrom(-3, -1, 1, 2, 5), key }).map(
  ({ by, slot, delta, key }): Verb =>
    (known) => {
      return {
        verb: 'adjustStock',
        by,
        id: pick(known.products, slot),
        delta,
        reason: 'counted',
        key: ownKey(known, key),
      }
    },
)

const searchProducts = fc.record({ by, searched, limit }).map(
  ({ by, searched, limit }): Verb =>
    (known) => ({ verb: 'searchProducts', by, search: searched(known), limit }),
)

/** Two PO numbers, each written in two ways. */
const anyPo = fc.constantFrom('PO-1', 'po-1', 'Ä2', 'A\u03082')
const po = fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 3, arbitrary: anyPo })

const placeOrder = fc.record({ by, buyer: mostlyFirst, items, key, po, confirm: fc.nat({ max: 4 }) }).map(
  ({ by, buyer, items, key, po, confirm }): Verb =>
    (known) => {
      const customer_id = pick(known.customers, buyer)
      const order = { customer_id, items: linesOf(known, items), ...(po && { po_number: po }) }
      const call = { verb: 'placeOrder', by, ...order, key: ownKey(known, key) } as const
      return confirm === 0 ? { ...call, confirm: true } : call
    },
)

/** One piece of the product with enough stock. */
const placeOne: Verb = (known) => {
  const items = linesOf(known, [{ product: 2, qty: 1 }])
  return { verb: 'placeOrder', by: 'all', customer_id: pick(known.customers, 0), items }
}

/** An order of a customer with the policy `unique` or `free`, which little but its PO number can refuse. */
const placeForPo = fc.record({ buyer: fc.constantFrom(0, 0, 1), po: anyPo, orchestrated: fc.boolean() }).map(
  ({ buyer, po, orchestrated }): Verb =>
    (known) => {
      const order = { customer_id: pick(known.customers, buyer), items: linesOf(known, [{ product: 2, qty: 1 }]) }
      const verb = orchestrated ? 'createAndConfirm' : 'placeOrder'
      return { verb, by: 'all', ...order, po_number: po }
    },
)

/** Lets the hold of the latest order with a PO number end, and then asks for its PO number. */
const contendForPo = fc.constantFrom('placeOrder', 'placeOrder', 'createAndConfirm').map(
  (verb): Verb =>
    (known) => {
      if (known.named === undefined) return placeOne(known)
      const { id, customer_id, po_number, isEnded } = known.named
      if (!isEnded) return { verb: 'endHold', id }
      return { verb, by: 'all', customer_id, items: linesOf(known, [{ product: 2, qty: 1 }]), po_number }
    },
)

/** Uses one of the latest orders. A caller that knows none places one. */
function withOrder(slot: number, verb: (id: number, known: Known) => Call): Verb {
  return (known) => (known.orders.length > 0 ? verb(pick(latestFirst(known.orders), slot), known) : placeOne(known))
}

const getOrder = fc
  .record({ by, slot })
  .map(({ by, slot }): Verb => withOrder(slot, (id) => ({ verb: 'getOrder', by, id })))

const confirmOrder = fc
  .record({ by, slot: mostlyFirst, key: mostlyKey })
  .map(
    ({ by, slot, key }): Verb =>
      withOrder(slot, (id, known) => ({ verb: 'confirmOrder', by, id, key: ownKey(known, key) })),
  )

const cancelOrder = fc
  .record({ by, slot: mostlyFirst })
  .map(({ by, slot }): Verb => withOrder(slot, (id) => ({ verb: 'cancelOrder', by, id })))

const updateOrder = fc.record({ by, slot: mostlyFirst, notes: fc.constantFrom('a', 'b', ''), ifMatch, key }).map(
  ({ by, slot, notes, ifMatch, key }): Verb =>
    withOrder(slot, (id, known) => {
      const match = etagOf(known, `order ${id}`, ifMatch)
      return { verb: 'updateOrder', by, id, notes, ifMatch: match, key: ownKey(known, key) }
    }),
)

const listOrders = fc
  .record({
    by,
    po,
    buyer: mostlyFirst,
    status: fc.option(fc.constantFrom('CREATED', 'CONFIRMED', 'CANCELED'), { nil: undefined, freq: 2 }),
    limit,
    all: fc.boolean(),
  })
  .map(
    ({ by, po, buyer, status, limit, all }): Verb =>
      (known) => {
        // A caller that sees all customers filters by its own: it must not read orders of other histories.
        const customer_id = by === 'bound' && all ? undefined : pick(known.customers, buyer)
        return { verb: 'listOrders', by, status, customer_id, limit, ...(po && { po_number: po }) }
      },
  )

const createAndConfirm = fc.record({ by, buyer: mostlyFirst, items, po, key: mostlyKey }).map(
  ({ by, buyer, items, po, key }): Verb =>
    (known) => {
      const order = { customer_id: pick(known.customers, buyer), items: linesOf(known, items) }
      const call = { verb: 'createAndConfirm', by, ...order, key: ownKey(known, key) } as const
      return po ? { ...call, po_number: po } : call
    },
)

const endHold = few.map((slot): Verb => withOrder(slot, (id) => ({ verb: 'endHold', id })))

const passCancelWindow = mostlyFirst.map((slot): Verb => withOrder(slot, (id) => ({ verb: 'passCancelWindow', id })))

const expireKey = anyKey.map(
  (key): Verb =>
    (known) => ({ verb: 'expireKey', key: `${known.word}-${key}` }),
)

const releaseExpiredHolds = fc.constant<Verb>(() => ({ verb: 'releaseExpiredHolds' }))

/** Repeats a call with a key, which may still be in flight. */
const sendAgain = fc.nat({ max: 5 }).map(
  (slot): Verb =>
    ({ keyed, products }) => {
      return latestFirst(keyed)[slot % keyed.length] ?? { verb: 'getProduct', by: 'all', id: pick(products, slot) }
    },
)

/** Sends the latest order with a key again, for another PO number. */
const sendForOtherPo = anyPo.map(
  (po_number): Verb =>
    (known) => {
      const call = known.keyed.findLast(({ verb }) => verb === 'placeOrder' || verb === 'createAndConfirm')
      return call ? Object.assign({}, call, { po_number }) : placeOne(known)
    },
)

/** Shrinking drops calls and does not simplify them: each try takes time, and simpler calls explain less. */
function among(...choices: [number, fc.Arbitrary<Verb>][]): fc.Arbitrary<Verb> {
  return fc.oneof(...choices.map(([weight, arbitrary]) => ({ weight, arbitrary: fc.noShrink(arbitrary) })))
}

/** Calls for sequences: all kinds. */
export const anyVerb = among(
  [4, createCustomer],
  [2, getCustomer],
  [3, replaceCustomer],
  [2, deleteCustomer],
  [2, searchCustomers],
  [4, createProduct],
  [4, getProduct],
  [3, changeProduct],
  [3, adjustStock],
  [2, searchProducts],
  [9, placeOrder],
  [2, placeForPo],
  [4, contendForPo],
  [2, getOrder],
  [7, confirmOrder],
  [7, cancelOrder],
  [4, updateOrder],
  [5, listOrders],
  [6, createAndConfirm],
  [4, endHold],
  [3, passCancelWindow],
  [1, expireKey],
  [3, releaseExpiredHolds],
  [5, sendAgain],
  [1, sendForOtherPo],
)

/** Calls before a race: they make orders to contend for. */
export const anyBeginning = among(
  [4, fc.constant(placeOne)],
  [2, placeOrder],
  [2, placeForPo],
  [2, createAndConfirm],
  [1, confirmOrder],
  [1, endHold],
)

/** One call for all callers at once: under one key, or to change what all of them have read. */
export const anyShared = among(
  [3, placeOrder],
  [2, placeForPo],
  [3, createAndConfirm],
  [2, confirmOrder],
  [1, cancelOrder],
  [1, updateOrder],
  [1, adjustStock],
  [1, createProduct],
  [1, replaceCustomer],
  [2, changeProduct],
)

/** Calls in a race: they contend for the same rows, or read them meanwhile. */
export const anyContender = among(
  [1, createCustomer],
  [3, replaceCustomer],
  [2, deleteCustomer],
  [1, getCustomer],
  [2, searchCustomers],
  [2, createProduct],
  [3, changeProduct],
  [3, adjustStock],
  [2, getProduct],
  [2, searchProducts],
  [6, placeOrder],
  [4, placeForPo],
  [3, contendForPo],
  [4, confirmOrder],
  [5, cancelOrder],
  [2, updateOrder],
  [1, getOrder],
  [6, listOrders],
  [4, createAndConfirm],
  [2, endHold],
  [1, passCancelWindow],
  [2, releaseExpiredHolds],
  [8, sendAgain],
)
