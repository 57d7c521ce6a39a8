import {
  type Completion,
  failsIn,
  type HistoryEntry,
  isRecord,
  type OperationKind,
  okIn,
  type PoNumber,
  readJson,
} from './history.ts'
import type { HeardEvent, Listener } from './listener.ts'

/** What the database holds at the end. */
export interface FinalState {
  /** All orders except those of the demo data. */
  orders: readonly StoredOrder[]
  /** Other rows that operations created. */
  others: readonly { id: number; name: string }[]
  /** The events that have a position, in the order of the feed. */
  events: readonly HeardEvent[]
}

export interface StoredOrder {
  id: number
  /** The quantity of its marked line; undefined without one. */
  serial: number | undefined
  status: 'CREATED' | 'CONFIRMED' | 'CANCELED'
  wasConfirmed: boolean
  totalCents: number
  customerId: number
  poNumber: string | null
}

/**
 * What must never happen: something acknowledged is missing; something was done twice; callers of one key were told different
 * things; a key was refused after it had been acknowledged; a refusal has no reason; something exists, or is in a state,
 * that nobody asked for; a caller never got a final response; something acknowledged was not told to a listener; a listener
 * heard something else than the feed has, or in another order, or twice.
 */
export type ViolationKind =
  | 'lost'
  | 'doubled'
  | 'differing'
  | 'taken back'
  | 'wrongly refused'
  | 'unasked'
  | 'unanswered'
  | 'untold'
  | 'misheard'

export interface Violation {
  kind: ViolationKind
  key: string
  seen: string
}

const PO_TAKEN = 'po_number_taken'

const REFUSALS: Record<OperationKind, readonly string[]> = {
  orchestrate: ['insufficient_stock', PO_TAKEN],
  place: ['insufficient_stock', PO_TAKEN],
  'place confirmed': ['insufficient_stock', PO_TAKEN],
  confirm: ['order_canceled'],
  cancel: ['cancel_window_passed'],
  adjust: ['insufficient_stock'],
  'add customer': [],
  'add product': [],
}

const PLACING: readonly OperationKind[] = ['orchestrate', 'place', 'place confirmed']

/** Compares the history with the database. @returns nothing when nothing is lost or doubled, and each key has one answer */
export function check(entries: readonly HistoryEntry[], final: FinalState, marks: readonly number[]): Violation[] {
  const bySerial = Map.groupBy(
    entries.filter(({ serial }) => serial !== undefined),
    ({ serial }) => serial,
  )
  const orders = Map.groupBy(final.orders, ({ serial }) => serial)
  const others = Map.groupBy(final.others, ({ name }) => name)
  return [
    ...entries.flatMap(checkCompletions),
    ...[...bySerial].flatMap(([serial, ofOrder]) => checkOrder(ofOrder, orders.get(serial) ?? [], marks)),
    ...entries.flatMap((entry) => (entry.name === undefined ? [] : checkOther(entry, others.get(entry.name) ?? []))),
    ...final.orders.filter(({ serial }) => serial === undefined || !bySerial.has(serial)).map(unaskedOrder),
    ...entries.flatMap((entry) => checkPoRefusals(entry, final.orders)),
    ...checkPoNumbers(final.orders),
  ]
}

/**
 * Compares what a listener heard with the feed and with what callers were told.
 * @param heard from the first event to the end of the feed, after all callers had their responses
 */
export function checkHeard(
  entries: readonly HistoryEntry[],
  { events }: Pick<FinalState, 'events'>,
  listener: Pick<Listener, 'name' | 'heard' | 'promise' | 'begin' | 'wants'>,
): Violation[] {
  const { name, promise, wants } = listener
  const gap = events.find(({ position }, i) => position !== i + 1)
  // What was told again tells nothing new.
  const heard = promise === 'once' ? listener.heard : firstsOf(listener.heard)
  const expected = promise === 'once' ? events.slice(0, heard.length) : inTheirOrder(wantedOf(events, listener), heard)
  const places = Array.from({ length: Math.max(heard.length, expected.length) }, (_, i) => i)
  const wrong = places.find((i) => nameOf(heard[i]) !== nameOf(expected[i]))
  const subjects = new Map(heard.map((event) => [subjectOf(event), event]))
  const asked = entries.filter(({ kind }) => wants(TYPES[kind]))
  const untold = asked.filter((entry) => okIn(entry).some((response) => !isTold(entry, response, subjects)))
  return [
    ...(gap ? [{ kind: 'misheard' as const, key: 'the feed', seen: `a gap before ${nameOf(gap)}` }] : []),
    ...(wrong === undefined
      ? []
      : [
          {
            kind: 'misheard' as const,
            key: name,
            seen: `${nameOf(heard[wrong])}, where the feed has ${nameOf(expected[wrong])}`,
          },
        ]),
    ...untold.map((entry): Violation => {
      return { kind: 'untold', key: entry.key, seen: `${name} heard nothing of it; ${outcomeInWords(entry)}` }
    }),
  ]
}

/** What it should have heard: events may come after it stopped to listen. */
function wantedOf(
  events: readonly HeardEvent[],
  { heard, begin, wants }: Pick<Listener, 'heard' | 'begin' | 'wants'>,
): readonly HeardEvent[] {
  const last = heard.reduce((most, { position }) => Math.max(most, position), 0)
  return events.filter(({ type, position }) => position > begin && position <= last && wants(type))
}

function firstsOf(heard: readonly HeardEvent[]): HeardEvent[] {
  const known = new Set<string>()
  return heard.filter(({ id }) => known.size < known.add(id).size)
}

/** The events as a listener may hear them for whom only those of one resource are in order: each takes a place of its resource. */
function inTheirOrder(events: readonly HeardEvent[], heard: readonly HeardEvent[]): HeardEvent[] {
  const resourceOf = ({ resource }: HeardEvent) => `${resource.type} ${resource.id}`
  const left = Map.groupBy(events, resourceOf)
  const inPlaces = heard.flatMap((event) => left.get(resourceOf(event))?.shift() ?? [])
  return [...inPlaces, ...[...left.values()].flat()]
}

function nameOf(event: HeardEvent | undefined): string {
  if (event === undefined) return 'nothing'
  const { id, position, type, resource } = event
  return `${position} ${id} ${type} of ${resource.type} ${resource.id} version ${resource.version}`
}

/** An order is placed, confirmed and canceled once each; an entry of the ledger has an id of its own. */
function subjectOf({
  type,
  resource,
  adjustment,
}: Pick<HeardEvent, 'type' | 'adjustment'> & { resource: { id: unknown } }) {
  return `${type} ${adjustment ?? resource.id}`
}

const TYPES: Record<OperationKind, string> = {
  orchestrate: 'order.placed',
  place: 'order.placed',
  'place confirmed': 'order.placed',
  confirm: 'order.confirmed',
  cancel: 'order.canceled',
  adjust: 'product.stock_adjusted',
  'add customer': 'customer.created',
  'add product': 'product.created',
}

/** Whether an event tells what was acknowledged, in the acknowledged state. */
function isTold({ kind }: HistoryEntry, { body }: Completion, events: ReadonlyMap<string, HeardEvent>): boolean {
  const isOrder = TYPES[kind].startsWith('order.')
  const { id, status } = isOrder ? orderIn(kind, body) : { id: readJson(body).id, status: undefined }
  const event = events.get(subjectOf({ type: TYPES[kind], resource: { id } }))
  return event !== undefined && (!isOrder || event.status === status)
}

/** A refusal must name an order that has the PO number, and never the caller's own order. */
function checkPoRefusals({ key, serial, po, completions }: HistoryEntry, orders: readonly StoredOrder[]): Violation[] {
  const hasIt = (order: StoredOrder) => po !== undefined && poNameOf(order) === poNameIn(po) && order.serial !== serial
  return completions
    .filter(({ code, orderId }) => code === PO_TAKEN && !orders.some((order) => order.id === orderId && hasIt(order)))
    .map((completion) => ({ kind: 'wrongly refused', key, seen: `for PO number ${po?.text}: ${shown(completion)}` }))
}

/** At most one live order of a customer has a PO number. */
function checkPoNumbers(orders: readonly StoredOrder[]): Violation[] {
  const live = orders.filter(({ status, poNumber }) => status !== 'CANCELED' && poNumber !== null)
  return [...Map.groupBy(live, poNameOf)].flatMap(([name, holders]) => {
    const seen = holders.map(inWords).join(', ')
    return holders.length > 1 ? [{ kind: 'doubled', key: `PO number ${name}`, seen }] : []
  })
}

function poNameOf({ customerId, poNumber }: StoredOrder): string | undefined {
  return poNumber === null ? undefined : poNameIn({ customerId, text: poNumber })
}

/** The PO number as it is compared. */
function poNameIn({ customerId, text }: PoNumber): string {
  return `${customerId} ${text.trim().normalize('NFC').toLowerCase()}`
}

function checkCompletions(entry: HistoryEntry): Violation[] {
  const { kind, key, settled } = entry
  const found: Violation[] = []
  const [first, second] = okIn(entry)
  const refusals = failsIn(entry)
  if (!settled) found.push({ kind: 'unanswered', key, seen: `${entry.invocations} tries, no answer that settles it` })
  if (first && second) found.push({ kind: 'differing', key, seen: `${shown(first)} and ${shown(second)}` })
  const later = refusals.find(({ lastInvokedAt }) => first !== undefined && lastInvokedAt > first.firstAt)
  if (first && later) found.push({ kind: 'taken back', key, seen: `${shown(first)}, then ${shown(later)}` })
  const wrong = refusals.find(({ code }) => code === undefined || !REFUSALS[kind].includes(code))
  if (wrong) found.push({ kind: 'wrongly refused', key, seen: shown(wrong) })
  return found
}

function shown({ status, body }: Completion): string {
  return `${status} ${body}`
}

/** Checks all operations on one order. */
function checkOrder(
  entries: readonly HistoryEntry[],
  orders: readonly StoredOrder[],
  marks: readonly number[],
): Violation[] {
  const [placing] = entries.filter(({ kind }) => PLACING.includes(kind))
  if (placing === undefined) return []
  const key = placing.key
  const asked = (kind: OperationKind) => entries.some((entry) => entry.kind === kind && entry.invocations > 0)
  const seen = `${orders.map(inWords).join(', ') || 'no order'}; ${entries.map(outcomeInWords).join(', ')}`
  const violation = (kind: ViolationKind): Violation => ({ kind, key, seen })

  const found: Violation[] = []
  const live = orders.filter(({ status }) => status !== 'CANCELED')
  const confirmed = orders.filter(({ wasConfirmed }) => wasConfirmed)
  const confirms = placing.kind !== 'place'
  if (orders.length > 1) found.push(violation('doubled'))
  if (confirmed.length > 0 && !confirms && !asked('confirm')) found.push(violation('unasked'))
  if (confirmed.some(({ status }) => status === 'CANCELED') && !asked('cancel')) found.push(violation('lost'))
  if (confirms && orders.some(({ wasConfirmed }) => !wasConfirmed)) {
    found.push({ ...violation('unasked'), seen: `an order is there that was never confirmed: ${seen}` })
  }
  const refused = entries.every((entry) => entry.infos === 0) && okIn(placing).length === 0 && placing.settled
  if (refused && live.length > 0) found.push({ ...violation('unasked'), seen: `refused, and yet: ${seen}` })
  for (const entry of entries) {
    const [response] = okIn(entry)
    if (response && !holds(entry.kind, response, placing, orders, asked('cancel'), marks)) found.push(violation('lost'))
  }
  return found
}

function inWords({ id, status, wasConfirmed }: StoredOrder): string {
  return `order ${id} is ${status}${wasConfirmed && status === 'CANCELED' ? ' after CONFIRMED' : ''}`
}

function outcomeInWords({ kind, invocations, completions }: HistoryEntry): string {
  return `${kind} in ${invocations} tries: ${completions.map(shown).join(' and ') || 'no answer'}`
}

/** Whether the acknowledged order exists, in the acknowledged state or in one that may follow it. */
function holds(
  kind: OperationKind,
  response: Completion,
  { serial, po }: HistoryEntry,
  orders: readonly StoredOrder[],
  mayBeCanceled: boolean,
  marks: readonly number[],
): boolean {
  const answered = orderIn(kind, response.body)
  const order = orders.find(({ id }) => id === answered.id)
  if (order === undefined || answered.totalCents !== order.totalCents) return false
  const poNumber = po?.text.trim() ?? null
  if (answered.poNumber !== poNumber || order.poNumber !== poNumber) return false
  // The order must be this caller's own.
  if (answered.lines.find(({ productId }) => marks.includes(productId))?.qty !== serial) return false
  if (kind === 'place') return answered.status === 'CREATED'
  if (kind === 'cancel') return answered.status === 'CANCELED' && order.status === 'CANCELED'
  const stands = order.status === 'CONFIRMED' || (mayBeCanceled && order.status === 'CANCELED')
  return answered.status === 'CONFIRMED' && order.wasConfirmed && stands
}

interface AnsweredOrder {
  id: unknown
  status: unknown
  totalCents: unknown
  poNumber: unknown
  lines: { productId: number; qty: number }[]
}

function orderIn(kind: OperationKind, body: string): AnsweredOrder {
  const whole = readJson(body)
  const data = isRecord(whole.data) ? whole.data : {}
  const order = kind === 'orchestrate' ? (isRecord(data.order) ? data.order : {}) : whole
  const items = Array.isArray(order.items) ? order.items.filter(isRecord) : []
  const lines = items.map(({ product_id, qty }) => ({ productId: Number(product_id), qty: Number(qty) }))
  const { id, status, total_cents: totalCents, po_number: poNumber = null } = order
  return { id, status, totalCents, poNumber, lines }
}

/** A row that is not an order must exist once, under the acknowledged id. */
function checkOther(entry: HistoryEntry, rows: readonly { id: number }[]): Violation[] {
  const { key } = entry
  const [response] = okIn(entry)
  const seen = `${rows.map(({ id }) => `id ${id}`).join(', ') || 'nothing'}; ${outcomeInWords(entry)}`
  if (rows.length > 1) return [{ kind: 'doubled', key, seen }]
  if (response && rows[0]?.id !== readJson(response.body).id) return [{ kind: 'lost', key, seen }]
  return []
}

function unaskedOrder(order: StoredOrder): Violation {
  return {
    kind: 'unasked',
    key: `mark ${order.serial ?? 'missing'}`,
    seen: `${inWords(order)}, and nobody asked for it`,
  }
}
