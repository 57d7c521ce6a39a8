import { isDeepStrictEqual } from 'node:util'
import type { ApiResponse } from '../../testing/api-client.ts'
import type { FeedEvent } from '../../testing/replay.ts'
import { LONG_AGO } from '../../testing/rows.ts'

// The contract of customers, products, orders, keys and events, in memory, one call after another. It is written from the
// contract, not from the sources. From a response it takes only what the contract leaves open: new ids, times, versions.

/** A client with all scopes, one bound to the first customer, and one without the customer scopes. */
export type Caller = 'all' | 'bound' | 'other'

type PoPolicy = 'unique' | 'free' | 'required'
type CustomerFields = { name: string; email: string; phone?: string; po_policy?: PoPolicy | undefined }
type ProductFields = { sku: string; name: string; price_cents: number; stock: number; stock_low_at?: number | null }
export type Items = { product_id: number; qty: number }[]
/** What an order asks for. */
export type Requested = { customer_id: number; items: Items; po_number?: string }
type Status = 'CREATED' | 'CONFIRMED' | 'CANCELED'
/** The last row of the previous page, and its cursor. */
export type PageStart = { cursor: string; row: ApiResponse['body'] }
/** `correlation`: the id of the request, which its events have too. */
type By = { by: Caller; correlation?: string }
type Keyed = By & { key?: string | undefined }
type One = By & { id: number }
type Conditional = One & { ifMatch?: string | undefined }
type PageOf = By & { limit: number; after?: PageStart }

/** All calls. The last four are not requests: they let time pass, and sweep. */
export type Call =
  | ({ verb: 'createCustomer'; fields: CustomerFields } & Keyed)
  | ({ verb: 'getCustomer' } & One)
  | ({ verb: 'replaceCustomer'; fields: CustomerFields } & Conditional)
  | ({ verb: 'deleteCustomer' } & Conditional)
  | ({ verb: 'searchCustomers'; search: string } & PageOf)
  | ({ verb: 'createProduct'; fields: ProductFields } & Keyed)
  | ({ verb: 'getProduct' } & One)
  | ({ verb: 'changeProduct'; change: Partial<Omit<ProductFields, 'sku'>> } & Conditional)
  | ({ verb: 'adjustStock'; id: number; delta: number; reason: string } & Keyed)
  | ({ verb: 'searchProducts'; search: string } & PageOf)
  | ({ verb: 'placeOrder'; confirm?: true } & Requested & Keyed)
  | ({ verb: 'getOrder' } & One)
  | ({ verb: 'confirmOrder'; id: number } & Keyed)
  | ({ verb: 'cancelOrder' } & One)
  | ({ verb: 'updateOrder'; notes: string } & Conditional & Keyed)
  | ({ verb: 'listOrders'; status?: Status | undefined; customer_id?: number | undefined; po_number?: string } & PageOf)
  | ({ verb: 'createAndConfirm' } & Requested & Keyed)
  | { verb: 'endHold'; id: number }
  | { verb: 'passCancelWindow'; id: number }
  | { verb: 'expireKey'; key: string }
  | { verb: 'releaseExpiredHolds' }

type CallOf<V extends Call['verb']> = Extract<Call, { verb: V }>

/** A response as a caller sees it. The body of a refusal has its code and details. */
export type Seen = Pick<ApiResponse, 'status' | 'text' | 'body'> & {
  etag: string | null
  location: string | null
  replayed: boolean
}

/** The response that the model expects. `text` where the bytes must be equal; `what` names the case. */
export type Expected = Omit<Seen, 'text'> & { what: string; text?: string }

/** A time that was set but not seen yet. */
const UNSEEN = 'a time'
/** What an event tells and the contract leaves open. */
const ANYTHING = 'anything'

/** Who caused an event, and in which request. */
type Cause = { actor: { type: 'client' | 'system'; id: string }; correlation_id: string | null }

/** An event that must be in the feed. */
export type Told = Cause & {
  type: string
  resource: { type: 'order' | 'product' | 'customer'; id: number; version: number | string }
  data: Record<string, unknown>
}

/** `risen`: the version is above this number; how far was not seen yet. */
type Versioned = { version: number; risen: boolean; created_at: string; updated_at: string }
type Customer = { id: number; name: string; email: string; phone: string | null } & Versioned & {
    po_policy: PoPolicy
    deleted: boolean
  }
type Product = { id: number } & ProductFields & Versioned
type Priced = { product_id: number; qty: number; unit_price_cents: number; subtotal_cents: number }
type Line = Priced & { line: number; sku: string; name: string }
type Order = {
  id: number
  customer_id: number
  status: Status
  total_cents: number
  items: Line[]
  created_at: string
  confirmed_at: string | null
  canceled_at: string | null
  expires_at: string | null
  po_number: string | null
  notes: string | null
  placed_by: string
  version: number
}

export interface State {
  /** The customer that the caller `bound` is bound to. */
  boundTo: number
  /** The principals of the callers. */
  principals: Record<Caller, string>
  customers: Customer[]
  products: Product[]
  orders: Order[]
  adjustments: number[]
  /** Stored responses by operation, caller and key. */
  responses: Record<string, { request: string; first: Seen }>
  /** Those of the orchestrator, whose keys at Orders are separate. */
  orchestrated: Record<string, { request: string; first: Seen }>
  /** The events of the step that is being made. */
  told: Told[]
}

/** A state with these customers and products, from their responses. The first customer has the bound client. */
export function stateOf(
  customers: ApiResponse['body'][],
  products: ApiResponse['body'][],
  principals: Record<Caller, string>,
): State {
  return {
    principals,
    boundTo: customers[0]?.id ?? 0,
    customers: customers.map((row) => ({ ...row, risen: false, deleted: false })),
    products: products.map((row) => ({ ...row, risen: false })),
    orders: [],
    adjustments: [],
    responses: {},
    orchestrated: {},
    told: [],
  }
}

/** `freed`: an ended hold had the PO number. */
type Placing = { of: 'placing'; customer: Customer | undefined; freed?: boolean }

/** The progress of a call with several steps. */
export type Progress = Placing | { of: 'releaseExpiredHolds'; left: number[] }

/** The state after one step of a call: with the response after the last step, with the progress after others. */
type Step = { state: State } & ({ expected: Expected } | { progress: Progress })

/** With the events that the step must have. */
export type Outcome = Step & { told: Told[] }

/** Orders at the end of a history by creation time: an unseen step may have created them. */
export type LaterOrders = ReadonlyMap<number, string>

/**
 * The possible outcomes of the next step of a call; most calls have one step and one outcome. Other calls may run
 * between the steps of these: placing an order looks up its customer, then releases the ended holds that it needs; a
 * sweep cancels one order after another.
 */
export function outcomesOf(
  before: State,
  call: Call,
  seen: Seen,
  progress?: Progress,
  later: LaterOrders = new Map(),
): Outcome[] {
  return stepsOf(before, call, seen, progress, later).map((step) => {
    return { ...step, state: { ...step.state, told: [] }, told: step.state.told }
  })
}

function stepsOf(before: State, call: Call, seen: Seen, progress: Progress | undefined, later: LaterOrders): Step[] {
  switch (call.verb) {
    case 'placeOrder':
      return placeOrder(before, call, seen, progress, later)
    case 'createAndConfirm':
      return createAndConfirm(before, call, seen, progress, later)
    case 'releaseExpiredHolds':
      return releaseExpiredHolds(before, progress)
    default: {
      const state = structuredClone(before)
      return [{ state, expected: responseTo(state, call, seen) }]
    }
  }
}

export function agrees({ what: _, text, ...expected }: Expected, { text: seenText, ...seen }: Seen): boolean {
  return (text === undefined || text === seenText) && isDeepStrictEqual(expected, seen)
}

type AtomicCall = Exclude<Call, { verb: 'placeOrder' | 'createAndConfirm' | 'releaseExpiredHolds' }>

/** The response to a call of one step. Changes the state. */
function responseTo(state: State, call: AtomicCall, seen: Seen): Expected {
  switch (call.verb) {
    case 'createCustomer':
      return createCustomer(state, call, seen)
    case 'getCustomer':
      return getCustomer(state, call, seen)
    case 'replaceCustomer':
      return replaceCustomer(state, call, seen)
    case 'deleteCustomer':
      return deleteCustomer(state, call)
    case 'searchCustomers':
      return searchCustomers(state, call, seen)
    case 'createProduct':
      return createProduct(state, call, seen)
    case 'getProduct':
      return getProduct(state, call, seen)
    case 'changeProduct':
      return changeProduct(state, call, seen)
    case 'adjustStock':
      return adjustStock(state, call, seen)
    case 'searchProducts':
      return searchProducts(state, call, seen)
    case 'getOrder':
      return getOrder(state, call, seen)
    case 'confirmOrder':
      return confirmOrder(state, call, seen)
    case 'cancelOrder':
      return cancelOrder(state, call, seen)
    case 'updateOrder':
      return updateOrder(state, call, seen)
    case 'listOrders':
      return listOrders(state, call, seen)
    case 'endHold':
      return endHold(state, call)
    case 'passCancelWindow':
      return passCancelWindow(state, call)
    case 'expireKey':
      return expireKey(state, call)
  }
}

// Customers

function createCustomer(state: State, call: CallOf<'createCustomer'>, seen: Seen): Expected {
  if (call.by === 'other') return refusal(403, 'insufficient_scope')
  if (call.by === 'bound') return refusal(403, 'bound_client')
  return once(state.responses, call, call.fields, seen, () => {
    const taken = emailTaken(state, call.fields)
    if (taken) return taken
    const freed = state.customers.some(({ deleted, email }) => deleted && sameEmail(email, call.fields.email))
    const id = newId(seen.body, state.customers)
    const { name, email, phone = null, po_policy = 'unique' } = call.fields
    const customer = { id, name, email, phone, po_policy, deleted: false, ...newVersion() }
    state.customers.push(customer)
    const shown = shownCustomer(customer, seen.body)
    tell(state, 'customer.created', { customer: shown }, causeOf(state, call))
    return created(shown, 'customers', freed ? "created with a deleted one's e-mail" : 'created')
  })
}

function getCustomer(state: State, call: CallOf<'getCustomer'>, seen: Seen): Expected {
  if (call.by === 'other') return refusal(403, 'insufficient_scope')
  const customer = mayKnow(state, call, call.id) ? liveCustomer(state, call.id) : undefined
  if (customer === undefined) return refusal(404, 'not_found')
  return versioned(shownCustomer(customer, seen.body), 'read')
}

function replaceCustomer(state: State, call: CallOf<'replaceCustomer'>, seen: Seen): Expected {
  const customer = changeableCustomer(state, call)
  if ('what' in customer) return customer
  const taken = emailTaken(state, call.fields, customer)
  if (taken) return taken
  const { name, email, phone = null, po_policy = customer.po_policy } = call.fields
  const fields = { name, email, phone, po_policy }
  const previous = oldValues(customer, fields)
  Object.assign(customer, fields)
  rise(customer)
  const shown = shownCustomer(customer, seen.body)
  tell(state, 'customer.updated', { customer: shown, previous }, causeOf(state, call))
  return versioned(shown, changedBy(call))
}

function deleteCustomer(state: State, call: CallOf<'deleteCustomer'>): Expected {
  const customer = changeableCustomer(state, call)
  if ('what' in customer) return customer
  customer.deleted = true
  const last = { ...shownCustomer(customer, undefined), updated_at: UNSEEN, version: ANYTHING }
  tell(state, 'customer.deleted', { customer: last }, causeOf(state, call))
  return done('deleted')
}

/** A bound client may read its own customer and change none. */
function changeableCustomer(state: State, call: Conditional): Customer | Expected {
  if (call.by === 'other') return refusal(403, 'insufficient_scope')
  if (!mayKnow(state, call, call.id)) return refusal(404, 'not_found')
  if (call.by === 'bound') return refusal(403, 'bound_client')
  const customer = liveCustomer(state, call.id)
  if (customer === undefined) return refusal(404, 'not_found')
  return holds(call.ifMatch, customer) ? customer : refusal(412, 'precondition_failed')
}

function searchCustomers(state: State, call: CallOf<'searchCustomers'>, seen: Seen): Expected {
  if (call.by === 'other') return refusal(403, 'insufficient_scope')
  const visible = state.customers.filter(({ id, deleted }) => !deleted && mayKnow(state, call, id))
  const wordOf = (row: Customer) => firstWord(call.search, row.name, row.email)
  return page(found(visible, wordOf), call, seen, byWord(wordOf), shownCustomer)
}

function emailTaken(state: State, { email }: CustomerFields, own?: Customer): Expected | undefined {
  const other = state.customers.find((it) => it !== own && !it.deleted && sameEmail(it.email, email))
  if (other === undefined) return undefined
  return refusal(409, 'email_taken', {}, other.email === email ? 'email_taken' : 'email_taken, in another case')
}

function sameEmail(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}

function liveCustomer(state: State, id: number): Customer | undefined {
  return state.customers.find((customer) => customer.id === id && !customer.deleted)
}

function mayKnow(state: State, { by }: { by: Caller }, customerId: number): boolean {
  return by !== 'bound' || customerId === state.boundTo
}

// Products

function createProduct(state: State, call: CallOf<'createProduct'>, seen: Seen): Expected {
  return once(state.responses, call, call.fields, seen, () => {
    if (state.products.some(({ sku }) => sku === call.fields.sku)) return refusal(409, 'sku_taken')
    const product = { id: newId(seen.body, state.products), ...call.fields, ...newVersion() }
    state.products.push(product)
    const shown = shownProduct(product, seen.body)
    tell(state, 'product.created', { product: shown }, causeOf(state, call))
    return created(shown, 'products', 'created')
  })
}

function getProduct(state: State, call: CallOf<'getProduct'>, seen: Seen): Expected {
  const product = productOf(state, call.id)
  return product ? versioned(shownProduct(product, seen.body), 'read') : refusal(404, 'not_found')
}

function changeProduct(state: State, call: CallOf<'changeProduct'>, seen: Seen): Expected {
  const product = productOf(state, call.id)
  if (product === undefined) return refusal(404, 'not_found')
  if (!holds(call.ifMatch, product)) return refusal(412, 'precondition_failed')
  const { stock } = product
  const previous = oldValues({ stock_low_at: null, ...product }, changedFields(call.change))
  Object.assign(product, changedFields(call.change))
  rise(product)
  const shown = shownProduct(product, seen.body)
  tell(state, 'product.updated', { product: shown, previous }, causeOf(state, call))
  const adjustment = { id: ANYTHING, delta: product.stock - stock, reason: ANYTHING }
  if (adjustment.delta !== 0) tellStock(state, product, adjustment, causeOf(state, call))
  return versioned(shown, changedBy(call))
}

function adjustStock(state: State, call: CallOf<'adjustStock'>, seen: Seen): Expected {
  const { id, delta, reason } = call
  return once(state.responses, call, { id, delta, reason }, seen, () => {
    const product = productOf(state, id)
    if (product === undefined) return refusal(404, 'not_found')
    if (product.stock + delta < 0) {
      return refusal(409, 'insufficient_stock', {
        lines: [{ product_id: id, requested: -delta, available: product.stock }],
      })
    }
    product.stock += delta
    rise(product)
    const adjustmentId = newId(
      seen.body,
      state.adjustments.map((id) => ({ id })),
    )
    state.adjustments.push(adjustmentId)
    tellStock(state, product, { id: adjustmentId, delta, reason }, causeOf(state, call))
    const created_at = settled(UNSEEN, seen.body?.created_at)
    const body = { id: adjustmentId, product_id: id, delta, reason, stock: product.stock, created_at }
    return { ...done('adjusted'), status: 201, body }
  })
}

function searchProducts(state: State, call: CallOf<'searchProducts'>, seen: Seen): Expected {
  const wordOf = (row: Product) => firstWord(call.search, row.sku, row.name)
  return page(found(state.products, wordOf), call, seen, byWord(wordOf), shownProduct)
}

/** -1 takes the limit away. */
function changedFields({ stock_low_at, ...fields }: Partial<ProductFields>): Partial<ProductFields> {
  return stock_low_at === undefined ? fields : { ...fields, stock_low_at: stock_low_at === -1 ? null : stock_low_at }
}

function productOf(state: State, id: number): Product | undefined {
  return state.products.find((product) => product.id === id)
}

// Orders

function placeOrder(
  before: State,
  call: CallOf<'placeOrder'>,
  seen: Seen,
  progress: Progress | undefined,
  later: LaterOrders,
): Step[] {
  const { customer_id, items, confirm, po_number } = call
  if (confirm && call.key === undefined) return [{ state: before, expected: refusal(400, 'idempotency_key_required') }]
  return place(before, call, before.responses, progress, (state, customer) => {
    return once(state.responses, call, { customer_id, items, confirm, po_number }, seen, () => {
      const refused = whyNot(state, call, customer, seen)
      if (refused) return refused
      const id = newId(seen.body, state.orders)
      const order = take(state, call, id, later.get(id), confirm ? 'CONFIRMED' : 'CREATED')
      return created(shownOrder(order, seen.body), 'orders', placedAs(state, order, confirm))
    })
  })
}

/** The steps of placing: looks up the customer, releases the ended holds that the order needs, and takes the order. */
function place(
  before: State,
  call: CallOf<'placeOrder' | 'createAndConfirm'>,
  responses: State['responses'],
  progress: Progress | undefined,
  takeOrder: (state: State, customer: Customer | undefined) => Expected,
): Step[] {
  if (!mayKnow(before, call, call.customer_id)) return [{ state: before, expected: refusal(404, 'not_found') }]
  if (progress?.of !== 'placing') return [lookUp(before, call.customer_id)]
  const released = isAnswered(responses, call) ? [] : releasesFor(before, call, progress.customer)
  const holders = poHolders(before, call)
  const freed = progress.freed || holders.length > 0
  const outcomes = released.map((state): Step => ({ state, progress: { ...progress, freed } }))
  const isTakenAnyway = holders.some((order) => !holdEnded(order))
  if (released.length > 0 && !isTakenAnyway) return outcomes
  const state = structuredClone(before)
  const expected = takeOrder(state, progress.customer)
  if (progress.freed && expected.status === 201) expected.what = 'placed, with the PO number of an ended hold'
  return [...outcomes, { state, expected }]
}

/** Looks up the customer, at another service. */
function lookUp(state: State, customerId: number): Step {
  return { state, progress: { of: 'placing', customer: liveCustomer(state, customerId) } }
}

function placedAs(state: State, order: Order, confirm: true | undefined): string {
  const others = state.orders.filter((other) => other !== order && samePo(other, order))
  if (others.some(({ status }) => status !== 'CANCELED')) return 'placed, with the PO number of another order'
  if (others.length > 0) return 'placed, with the PO number of a canceled order'
  if (confirm) return 'placed and confirmed'
  return repeats(order.items) ? 'placed, two lines of one product' : 'placed'
}

/** PO numbers are compared in their composed form, without case. */
function samePo(one: PoOf, other: PoOf): boolean {
  const fold = (text: string) => text.normalize('NFC').toLowerCase()
  if (!one.po_number || !other.po_number) return false
  return one.customer_id === other.customer_id && fold(one.po_number) === fold(other.po_number)
}

type PoOf = { customer_id: number; po_number?: string | null }

/**
 * Before an order is refused for its PO number or for too little stock, the ended holds that have them are released.
 * @returns the state after each release that may come next; none when there is nothing to release
 */
function releasesFor(state: State, call: Requested, customer: Customer | undefined): State[] {
  if (refusalBeforePo(state, call, customer)) return []
  const holders = poHolders(state, call)
  if (holders.length > 0) return holders.filter(holdEnded).map((order) => without(state, [order]))
  const short = shortLines(state, call).map(({ product_id }) => product_id)
  const ended = state.orders.filter(
    (order) => holdEnded(order) && order.items.some((item) => short.includes(item.product_id)),
  )
  return ended.length > 0 ? [without(state, ended)] : []
}

/** The state after these orders were canceled. */
function without(before: State, orders: readonly Order[]): State {
  const state = structuredClone(before)
  for (const order of state.orders) if (orders.some(({ id }) => id === order.id)) cancel(state, order)
  return state
}

/** The orders for whose PO number this one may be refused: several, if the customer's policy was `free` before. */
function poHolders(state: State, call: Requested): Order[] {
  if (liveCustomer(state, call.customer_id)?.po_policy === 'free') return []
  return state.orders.filter((order) => order.status !== 'CANCELED' && samePo(order, call))
}

/** Why the order can't be placed. A refusal may name any order that has the PO number. */
function whyNot(state: State, call: Requested, customer: Customer | undefined, seen: Seen): Expected | undefined {
  const refused = refusalBeforePo(state, call, customer)
  if (refused) return refused
  const holders = poHolders(state, call).filter((order) => !holdEnded(order))
  const holder = holders.find(({ id }) => id === seen.body?.order_id) ?? holders[0]
  if (holder) return refusal(409, 'po_number_taken', { order_id: holder.id })
  const lines = shortLines(state, call)
  if (lines.length === 0) return undefined
  const eachAlone = call.items.every(({ product_id, qty }) => qty <= (productOf(state, product_id)?.stock ?? 0))
  const what = eachAlone ? 'insufficient_stock, by two lines together' : 'insufficient_stock'
  return refusal(409, 'insufficient_stock', { lines }, what)
}

function refusalBeforePo(state: State, call: Requested, customer: Customer | undefined): Expected | undefined {
  const live = liveCustomer(state, call.customer_id)
  if (customer === undefined || live === undefined) return refusal(422, 'customer_not_found')
  if (live.po_policy === 'required' && call.po_number === undefined) return refusal(422, 'po_number_required')
  const missing = [...quantities(call.items).keys()].filter((id) => productOf(state, id) === undefined)
  return missing.length > 0 ? refusal(422, 'product_not_found', { product_ids: missing }) : undefined
}

function shortLines(state: State, { items }: Requested) {
  return [...quantities(items)].flatMap(([product_id, requested]) => {
    const available = productOf(state, product_id)?.stock ?? 0
    return requested > available ? [{ product_id, requested, available }] : []
  })
}

const HOLD_MINUTES = 1_440

/** Places the order at current prices, and reserves its stock. */
function take(
  state: State,
  call: CallOf<'placeOrder' | 'createAndConfirm'>,
  id: number,
  createdAt: string | undefined,
  status: 'CREATED' | 'CONFIRMED',
): Order {
  const items = call.items.map(({ product_id, qty }, i) => {
    const { price_cents: unit_price_cents = 0, sku = '', name = '' } = productOf(state, product_id) ?? {}
    return { product_id, qty, unit_price_cents, subtotal_cents: qty * unit_price_cents, line: i + 1, sku, name }
  })
  const total_cents = items.reduce((sum, { subtotal_cents }) => sum + subtotal_cents, 0)
  const created_at = createdAt ?? UNSEEN
  const held = () => ({ confirmed_at: null, expires_at: createdAt ? minutesAfter(createdAt, HOLD_MINUTES) : UNSEEN })
  const ends = status === 'CREATED' ? held() : { confirmed_at: created_at, expires_at: null }
  const order: Order = {
    id,
    customer_id: call.customer_id,
    status,
    total_cents,
    items,
    created_at,
    canceled_at: null,
    ...ends,
    po_number: call.po_number ?? null,
    notes: null,
    placed_by: state.principals[call.by],
    version: 1,
  }
  state.orders.push(order)
  move(state, items, -1)
  tellOrder(state, 'order.placed', order, undefined, causeOf(state, call))
  return order
}

function minutesAfter(time: string, minutes: number): string {
  return new Date(Date.parse(time) + 60_000 * minutes).toISOString()
}

function getOrder(state: State, call: CallOf<'getOrder'>, seen: Seen): Expected {
  const order = visibleOrder(state, call)
  return order ? versioned(shownOrder(order, seen.body), 'read') : refusal(404, 'not_found')
}

function confirmOrder(state: State, call: CallOf<'confirmOrder'>, seen: Seen): Expected {
  if (call.key === undefined) return refusal(400, 'idempotency_key_required')
  return once(state.responses, call, call.id, seen, () => {
    const order = visibleOrder(state, call)
    if (order === undefined) return refusal(404, 'not_found')
    const was = confirm(state, order, causeOf(state, call))
    if (was === 'CANCELED') return refusal(409, 'order_canceled')
    if (was === 'hold ended') return refusal(409, 'order_canceled', {}, 'order_canceled, its hold had ended')
    const what = was === 'CREATED' ? 'confirmed' : 'was confirmed already'
    return versioned(shownOrder(order, seen.body), what)
  })
}

/** Confirms the order if possible; an ended hold is over even before the sweep. @returns the case */
function confirm(state: State, order: Order, cause: Cause): Status | 'hold ended' {
  if (holdEnded(order)) {
    cancel(state, order)
    return 'hold ended'
  }
  const before = structuredClone(order)
  if (before.status === 'CREATED') {
    const version = order.version + 1
    Object.assign(order, { status: 'CONFIRMED', confirmed_at: UNSEEN, expires_at: null, version })
    tellOrder(state, 'order.confirmed', order, before, cause)
  }
  return before.status
}

function cancelOrder(state: State, call: CallOf<'cancelOrder'>, seen: Seen): Expected {
  const order = visibleOrder(state, call)
  if (order === undefined) return refusal(404, 'not_found')
  const was = order.status
  const response = (what: string) => versioned(shownOrder(order, seen.body), what)
  if (was === 'CANCELED') return response('was canceled already')
  if (was === 'CONFIRMED' && order.confirmed_at === LONG_AGO) return refusal(409, 'cancel_window_passed')
  cancel(state, order, holdEnded(order) ? undefined : causeOf(state, call))
  return response(`canceled when ${was}`)
}

/** @param cause undefined when the hold has ended, whoever met the order then */
function cancel(state: State, order: Order, cause?: Cause): void {
  const before = structuredClone(order)
  Object.assign(order, { status: 'CANCELED', canceled_at: UNSEEN, version: order.version + 1 })
  move(state, order.items, 1)
  tellOrder(state, 'order.canceled', order, before, cause ?? HOLD_ENDED, cause ? 'requested' : 'hold_expired')
}

function updateOrder(state: State, call: CallOf<'updateOrder'>, seen: Seen): Expected {
  const { id, notes, ifMatch } = call
  return once(state.responses, call, { id, notes }, seen, () => {
    const order = visibleOrder(state, call)
    if (order === undefined) return refusal(404, 'not_found')
    if (!holds(ifMatch, { ...order, risen: false })) return refusal(412, 'precondition_failed')
    if (order.status === 'CANCELED' || holdEnded(order)) return refusal(409, 'order_canceled')
    const before = structuredClone(order)
    Object.assign(order, { notes: notes === '' ? null : notes, version: order.version + 1 })
    tellOrder(state, 'order.updated', order, before, causeOf(state, call))
    return versioned(shownOrder(order, seen.body), changedBy(call))
  })
}

function listOrders(state: State, call: CallOf<'listOrders'>, seen: Seen): Expected {
  const { status, customer_id, po_number } = call
  const rows = state.orders.filter(
    (order) =>
      mayKnow(state, call, order.customer_id) &&
      (status === undefined || order.status === status) &&
      (customer_id === undefined || order.customer_id === customer_id) &&
      (po_number === undefined || samePo(order, { customer_id: order.customer_id, po_number })),
  )
  return page(rows, call, seen, newestFirst, (order, body) => {
    const { items: _, ...summary } = shownOrder(order, body)
    return summary
  })
}

/** By time, then by id. Only orders that the orchestrator has just made have an unseen time. */
function newestFirst(a: Order, b: Order): number {
  if (a.created_at === b.created_at || [a, b].some(({ created_at }) => created_at === UNSEEN)) return b.id - a.id
  return a.created_at < b.created_at ? 1 : -1
}

function visibleOrder(state: State, call: { by: Caller; id: number }): Order | undefined {
  return state.orders.find(({ id, customer_id }) => id === call.id && mayKnow(state, call, customer_id))
}

function holdEnded({ status, expires_at }: Order): boolean {
  return status === 'CREATED' && expires_at === LONG_AGO
}

function quantities(items: Items): Map<number, number> {
  const wanted = new Map<number, number>()
  for (const { product_id, qty } of items) wanted.set(product_id, (wanted.get(product_id) ?? 0) + qty)
  return wanted
}

function repeats(items: Items): boolean {
  return quantities(items).size < items.length
}

/** One stock movement raises a product's version once, however many lines it has. */
function move(state: State, items: Items, sign: 1 | -1): void {
  for (const [id, qty] of quantities(items)) {
    const product = productOf(state, id)
    if (product === undefined) continue
    product.stock += sign * qty
    rise(product)
  }
}

// The orchestrator

/**
 * Looks up the customer, then places and confirms the order in one step. A key's first response, with its customer,
 * never changes, whatever happens to either.
 */
function createAndConfirm(
  before: State,
  call: CallOf<'createAndConfirm'>,
  seen: Seen,
  progress: Progress | undefined,
  later: LaterOrders,
): Step[] {
  const { customer_id, items, po_number } = call
  return place(before, call, before.orchestrated, progress, (state, customer) => {
    return once(state.orchestrated, call, { customer_id, items, po_number }, seen, () => {
      const refused = whyNot(state, call, customer, seen)
      if (refused) return refused
      const id = newId(seen.body?.data?.order, state.orders)
      const order = take(state, call, id, later.get(id), 'CONFIRMED')
      const body = { success: true, correlationId: 'model', data: orchestratedData(order, customer) }
      return { ...done(call.key === undefined ? 'confirmed, without a key' : 'confirmed'), status: 201, body }
    })
  })
}

function orchestratedData(order: Order, customer: Customer | undefined) {
  const { id, status, total_cents, po_number } = order
  const items = order.items.map(({ product_id, qty, unit_price_cents, subtotal_cents }) => {
    return { product_id, qty, unit_price_cents, subtotal_cents }
  })
  return {
    customer: customer && { id: customer.id, name: customer.name, email: customer.email, phone: customer.phone },
    order: { id, status, total_cents, items, ...(po_number !== null && { po_number }) },
  }
}

// Events

const HOLD_ENDED: Cause = { actor: { type: 'system', id: 'holds' }, correlation_id: null }

/** The orchestrator passes the id on that its body has. */
function causeOf(state: State, call: { verb: Call['verb'] } & By): Cause {
  const id = state.principals[call.by].replace('client:', '')
  const correlation_id = call.verb === 'createAndConfirm' ? 'model' : (call.correlation ?? null)
  return { actor: { type: 'client', id }, correlation_id }
}

/** @param data with the resource under its name */
function tell(state: State, type: string, data: Record<string, unknown>, cause: Cause): void {
  const [name = ''] = type.split('.')
  const { id, version } = Object(data[name])
  const resource = { type: RESOURCES[name] ?? 'order', id, version }
  state.told.push({ type, resource, ...cause, data })
}

const RESOURCES: Record<string, Told['resource']['type']> = { customer: 'customer', product: 'product', order: 'order' }

function tellOrder(
  state: State,
  type: string,
  order: Order,
  before: Order | undefined,
  cause: Cause,
  reason?: string,
): void {
  const previous = before && { previous: oldValues(before, order) }
  const data = { order: { ...structuredClone(order), ...UNSET }, ...previous, ...(reason && { reason }) }
  tell(state, type, data, cause)
}

function tellStock(state: State, product: Product, adjustment: object, cause: Cause): void {
  const { id, sku, name, stock, stock_low_at = null } = product
  tell(
    state,
    'product.stock_adjusted',
    { product: { id, sku, name, stock, stock_low_at, version: ANYTHING }, adjustment },
    cause,
  )
}

/** The old values of what changes, except of the version. */
function oldValues<T extends object>(before: T, after: Partial<T>): Partial<T> {
  const isChanged = ([name, value]: [string, unknown]) =>
    name !== 'version' && name in after && !isDeepStrictEqual(value, Object(after)[name])
  return Object.fromEntries(Object.entries(before).filter(isChanged)) as Partial<T>
}

/** Whether an event in the feed is the one that must be there. */
export function isTold(told: Told, { type, resource, actor, correlation_id, data }: FeedEvent): boolean {
  return fits(told, { type, resource, actor, correlation_id, data })
}

function fits(told: unknown, seen: unknown): boolean {
  if (told === ANYTHING) return true
  if (told === UNSEEN) return typeof seen === 'string' && TIME.test(seen)
  if (typeof told !== 'object' || told === null) return told === seen
  if (typeof seen !== 'object' || seen === null) return false
  const names = Object.keys(told)
  return (
    names.length === Object.keys(seen).length && names.every((name) => fits(Object(told)[name], Object(seen)[name]))
  )
}

// Passing time

function endHold(state: State, call: CallOf<'endHold'>): Expected {
  const order = state.orders.find(({ id }) => id === call.id)
  if (order?.status === 'CREATED') order.expires_at = LONG_AGO
  return done('done')
}

function passCancelWindow(state: State, call: CallOf<'passCancelWindow'>): Expected {
  const order = state.orders.find(({ id }) => id === call.id)
  if (order?.status === 'CONFIRMED') order.confirmed_at = LONG_AGO
  return done('done')
}

function expireKey(state: State, call: CallOf<'expireKey'>): Expected {
  for (const name of Object.keys(state.responses)) if (name.endsWith(` ${call.key}`)) delete state.responses[name]
  return done('done')
}

/** The orders whose hold has ended when the sweep begins, one by one, in any order. */
function releaseExpiredHolds(before: State, progress: Progress | undefined): Step[] {
  if (progress?.of !== 'releaseExpiredHolds') {
    const left = before.orders.filter(holdEnded).map(({ id }) => id)
    if (left.length === 0) return [{ state: before, expected: done('nothing to release') }]
    return [{ state: before, progress: { of: 'releaseExpiredHolds', left } }]
  }
  return progress.left.map((orderId) => {
    const state = structuredClone(before)
    const order = state.orders.find(({ id }) => id === orderId)
    if (order && holdEnded(order)) cancel(state, order)
    const left = progress.left.filter((id) => id !== orderId)
    return left.length === 0
      ? { state, expected: done('released') }
      : { state, progress: { of: 'releaseExpiredHolds', left } }
  })
}

// Keys

/**
 * A key belongs to a caller and an operation. The same request gets the first response again, whatever happened since;
 * another request is refused. Refusals are not stored.
 */
function once(
  responses: State['responses'],
  call: { verb: string } & Keyed,
  request: unknown,
  seen: Seen,
  work: () => Expected,
): Expected {
  if (call.key === undefined) return work()
  const name = nameOf(call)
  const written = JSON.stringify(request)
  const earlier = responses[name]
  if (earlier?.request === written) return { ...earlier.first, replayed: true, what: 'replayed' }
  if (earlier) return refusal(422, 'idempotency_key_reused')
  const expected = work()
  if (expected.status < 300) responses[name] = { request: written, first: seen }
  return expected
}

function nameOf({ verb, by, key }: { verb: string } & Keyed): string {
  return `${verb} ${by} ${key}`
}

function isAnswered(responses: State['responses'], call: { verb: string } & Keyed): boolean {
  return call.key !== undefined && nameOf(call) in responses
}

// Versions

function newVersion(): Versioned {
  return { version: 0, risen: true, created_at: UNSEEN, updated_at: UNSEEN }
}

/** The contract does not say how far a version rises: concurrent changes may raise it once. */
function rise(row: Versioned): void {
  Object.assign(row, { risen: true, updated_at: UNSEEN })
}

function holds(ifMatch: string | undefined, { version, risen }: Pick<Versioned, 'version' | 'risen'>): boolean {
  return ifMatch === undefined || ifMatch === '*' || (!risen && ifMatch === `"${version}"`)
}

function changedBy({ ifMatch }: { ifMatch?: string | undefined }): string {
  return ifMatch === undefined ? 'changed' : 'changed, by If-Match'
}

// Responses

function done(what: string): Expected {
  return { status: 204, body: '', etag: null, location: null, replayed: false, what }
}

function refusal(status: number, code: string, facts = {}, what = code): Expected {
  return { ...done(what), status, body: { code, ...facts } }
}

function versioned(body: { version: number | string }, what: string): Expected {
  return { ...done(what), status: 200, body, etag: `"${body.version}"` }
}

function created(body: { id: number; version?: number | string }, collection: string, what: string): Expected {
  const etag = body.version === undefined ? null : `"${body.version}"`
  return { ...done(what), status: 201, body, etag, location: `${collection}/${body.id}` }
}

/** The expected representation. Times and versions that are seen for the first time are fixed from then on. */
function shownCustomer(customer: Customer, seen: ApiResponse['body']) {
  settle(customer, seen)
  const { id, name, email, phone, po_policy, created_at, updated_at } = customer
  const shown = { id, name, email, phone, external_id: null, po_policy, created_at, updated_at }
  return { ...shown, version: shownVersion(customer) }
}

function shownProduct(product: Product, seen: ApiResponse['body']) {
  settle(product, seen)
  const { id, sku, name, price_cents, stock, created_at, updated_at } = product
  const { stock_low_at = null } = product
  const unset = { active: true, min_qty: 1, qty_step: 1, max_qty: null, unit: 'pc' }
  return {
    id,
    sku,
    name,
    price_cents,
    stock,
    ...unset,
    stock_low_at,
    created_at,
    updated_at,
    version: shownVersion(product),
  }
}

function shownOrder(order: Order, seen: ApiResponse['body']) {
  order.created_at = settled(order.created_at, seen?.created_at)
  order.confirmed_at = settled(order.confirmed_at, seen?.confirmed_at, order.created_at)
  order.canceled_at = settled(order.canceled_at, seen?.canceled_at, order.created_at)
  order.expires_at = settled(order.expires_at, seen?.expires_at, order.created_at)
  return { ...order, ...UNSET }
}

const UNSET = { requested_delivery_date: null, ship_to: null, metadata: null, currency: null }

function settle(row: Versioned, seen: ApiResponse['body']): void {
  row.created_at = settled(row.created_at, seen?.created_at)
  row.updated_at = settled(row.updated_at, seen?.updated_at, row.created_at)
  if (row.risen && Number.isSafeInteger(seen?.version) && seen.version > row.version) {
    Object.assign(row, { version: seen.version, risen: false })
  }
}

function shownVersion({ version, risen }: Versioned): number | string {
  return risen ? `above ${version}` : version
}

/** The time of the response, if one was set and not seen before. */
function settled<T extends string | null>(time: T, seen: unknown, notBefore = ''): T | string {
  if (time !== UNSEEN || typeof seen !== 'string') return time
  return TIME.test(seen) && seen >= notBefore ? seen : time
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

const NO_ID = -1

/** The id of a new row in the response, if it can be one. */
function newId(seen: ApiResponse['body'], others: readonly { id: number }[]): number {
  const id = seen?.id
  return Number.isSafeInteger(id) && id > 0 && others.every((other) => other.id !== id) ? id : NO_ID
}

// Lists

/** The rows after the previous page, and a cursor if there are more. */
function page<Row>(
  rows: readonly Row[],
  { limit, after }: PageOf,
  seen: Seen,
  order: (a: Row, b: Row) => number,
  shown: (row: Row, seen: ApiResponse['body']) => unknown,
): Expected {
  const left = rows.filter((row) => after === undefined || order(row, after.row) > 0).sort(order)
  const data = left.slice(0, limit).map((row, i) => shown(row, seen.body?.data?.[i]))
  const { next_cursor: cursor } = seen.body ?? {}
  const next_cursor = left.length > limit ? (typeof cursor === 'string' ? cursor : 'a cursor') : null
  const what = next_cursor === null ? (after === undefined ? 'the only page' : 'the last page') : 'a page'
  return { ...done(what), status: 200, body: { data, next_cursor } }
}

/** The first word of these texts, in their order, that begins with the search. */
function firstWord(search: string, ...texts: string[]): string | undefined {
  const words = texts.flatMap((text) => text.toLowerCase().split(/[^a-z0-9]+/))
  return words.filter((word) => word.startsWith(search.toLowerCase())).sort()[0]
}

function found<Row>(rows: readonly Row[], wordOf: (row: Row) => string | undefined): Row[] {
  return rows.filter((row) => wordOf(row) !== undefined)
}

/** As documented: by the word that matched, then by id. */
function byWord<Row extends { id: number }>(wordOf: (row: Row) => string | undefined) {
  return (a: Row, b: Row): number => {
    const [one = '', other = ''] = [wordOf(a), wordOf(b)]
    return one === other ? a.id - b.id : one < other ? -1 : 1
  }
}
