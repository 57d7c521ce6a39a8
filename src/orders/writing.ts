import { findingCustomers, lockingCustomers } from '../customers/client.ts'
import { type RunMode, SetAside } from '../platform/batcher.ts'
import { type Database, RunAgain, transact } from '../platform/database.ts'
import type { AppError } from '../platform/errors.ts'
import { limited, together } from '../platform/grouping.ts'
import {
  type Answer,
  type Opening,
  openingOf,
  openingQuery,
  saveAnswers,
  yieldToTwins,
} from '../platform/idempotency.ts'
import { addMinutes, type DbTime } from '../platform/time.ts'
import { lockingShelves, moveStock, type Shelf } from '../products/client.ts'
import { type ChangeCommand, type Changed, decideChanges, type ExpireCommand } from './changing.ts'
import { claimsOf, type WriteCommand } from './commands.ts'
import { lockWithoutWaiting } from './locked-commands.ts'
import { decidePlacements, PLACE_ORDER, type PlaceCommand, type PlaceDecision, type Placement } from './placing.ts'
import { presentOrder } from './presenting.ts'
import {
  countingOpenHolds,
  findEndedHolds,
  findingLines,
  insertLines,
  lockingOrders,
  moveAndInsertOrders,
  type OrderLines,
  ordersOf,
} from './store.ts'

export interface WriteConfig {
  idempotencyTtlMinutes: number
  cancelWindowMinutes: number
  /** How long a transaction waits for rows that another one has locked, in ms. */
  lockPatienceMs: number
}

/** Pieces of each product. */
type Pieces = ReadonlyMap<number, number>

/** What attempts of a transaction found out too late to act upon. The next attempt begins with it. */
interface Findings {
  /** What became of commands that need nothing more. */
  settled: Map<WriteCommand, Answer | AppError | SetAside>
  /** Products of which ended holds were looked for. */
  searched: Set<number>
  /** They release the ended holds that were found. */
  releases: ExpireCommand[]
}

/**
 * All that is asked of orders at one moment, in one transaction: placed, confirmed, canceled and expired orders, their
 * stock and their idempotency records commit together. Rows are locked in one order everywhere, orders before products
 * and each by id; what is canceled is back on the shelves before anything is taken. An order that finds too few pieces
 * gets those of holds that have ended.
 * @returns for each command its answer, or its refusal: `customer_not_found`, `insufficient_stock`, `product_not_found`, `amount_too_large`,
 *   `too_many_holds`, `not_found`, `order_canceled`, `cancel_window_passed`, `idempotency_key_reused`; or
 *   {@link SetAside}, where it does not wait for locks
 * @throws RowsLocked
 */
export function writeOrders(
  db: Database,
  commands: readonly WriteCommand[],
  config: WriteConfig,
  mode: RunMode,
): Promise<(Answer | AppError | SetAside)[]> {
  const findings: Findings = { settled: new Map(), searched: new Set(), releases: [] }
  return transact(db, async (trx) => {
    const all = [...findings.releases, ...commands]
    const isOpen = (command: WriteCommand) => !findings.settled.has(command)
    if (!mode.waitsForLocks) await setLockedAside(trx, all.filter(isOpen), findings)
    const outcomes = await write(trx, all.filter(isOpen), config, findings)
    return commands.map((command) => findings.settled.get(command) ?? found(outcomes.get(command)))
  })
}

/** @throws RunAgain when any are locked: a server may have undone the transaction in which it refused a lock */
async function setLockedAside(trx: Database, commands: readonly WriteCommand[], { settled }: Findings): Promise<void> {
  const { replays, locked } = await lockWithoutWaiting(trx, commands)
  for (const [command, replay] of replays) settled.set(command, replay)
  for (const [command, rows] of locked) settled.set(command, new SetAside(rows))
  if (locked.size > 0) throw new RunAgain()
}

async function write(
  trx: Database,
  commands: readonly WriteCommand[],
  config: WriteConfig,
  findings: Findings,
): Promise<Map<WriteCommand, Answer | AppError>> {
  const placing = commands.filter(isPlace)
  const changing = commands.filter(isChange)
  const { opening, locked, shelves, customers } = await readAndLock(trx, placing, changing, config)
  const { now, answers } = opening
  const changed = decideChanges(changing, locked, answers, { ...config, now })
  const returned = returnedPieces(changed.canceled, locked.lines)
  await lockMore(trx, shelves, [...productsOf(placing), ...returned.keys()], config)
  putBack(returned, shelves)
  const openHolds = await countOpenHolds(trx, placing, now, config)
  const placed = decidePlacements(placing, { shelves, customers, openHolds }, answers)
  await releaseEndedHolds(trx, placed.shortProducts, now, findings)
  await yieldToTwins(trx, [...changed.refused, ...placed.refused])

  await moveStock(trx, differences(returned, placed.placements), now)
  const made = await writeChanges(trx, changed, placed.placements, opening)
  const records = placed.placements.map(({ command }, i) => ({ claim: command.claim, answer: answerAt(made, i) }))
  await saveAnswers(trx, [...changed.records, ...records], { ...opening, ttlMinutes: config.idempotencyTtlMinutes })

  const outcomes = new Map<WriteCommand, Answer | AppError>()
  for (const [i, command] of changing.entries()) outcomes.set(command, found(changed.results[i]))
  for (const [i, command] of placing.entries()) outcomes.set(command, outcomeOf(found(placed.decisions[i]), made))
  return outcomes
}

/**
 * All that the decisions need, in one round trip. Replays lock rows that they do not need: they are rare, and checking
 * first would cost every batch a round trip.
 */
async function readAndLock(
  trx: Database,
  placing: readonly PlaceCommand[],
  changing: readonly ChangeCommand[],
  { lockPatienceMs }: WriteConfig,
) {
  const claims = [...placing, ...changing].flatMap(claimsOf)
  const orderIds = distinct(changing.map((command) => command.orderId))
  // Products are locked in one order and at one time: where some may come back, when it is known which.
  const wanted = changing.some(returnsPieces) ? [] : distinct(productsOf(placing))
  const [clock, orders, lines, customers, shelves] = await together(
    trx,
    openingQuery(trx, claims),
    limited(trx, lockingOrders(trx, orderIds), lockPatienceMs),
    findingLines(trx, orderIds),
    findingCustomers(trx, distinct(placing.map((command) => command.customerId))),
    limited(trx, lockingShelves(trx, wanted), lockPatienceMs),
  )
  return {
    opening: await openingOf(trx, claims, clock),
    locked: ordersOf(orderIds, orders, lines),
    customers: new Set(customers.map((customer) => customer.id)),
    shelves: new Map(shelves.map((shelf) => [shelf.id, shelf])),
  }
}

async function lockMore(
  trx: Database,
  shelves: Map<number, Shelf>,
  productIds: readonly number[],
  { lockPatienceMs }: WriteConfig,
): Promise<void> {
  const missing = distinct(productIds).filter((id) => !shelves.has(id))
  const [more] = await together(trx, limited(trx, lockingShelves(trx, missing), lockPatienceMs))
  for (const shelf of more) shelves.set(shelf.id, shelf)
}

/** How many holds each customer has whose holds are limited. Nobody else may place an order for it meanwhile. */
async function countOpenHolds(
  trx: Database,
  commands: readonly PlaceCommand[],
  now: DbTime,
  { lockPatienceMs }: WriteConfig,
): Promise<Map<number, number>> {
  const customerIds = distinct(
    commands.filter(({ maxOpenHolds }) => maxOpenHolds !== null).map(({ customerId }) => customerId),
  )
  const [, counts] = await together(
    trx,
    limited(trx, lockingCustomers(trx, customerIds), lockPatienceMs),
    countingOpenHolds(trx, customerIds, now),
  )
  const counted = new Map(counts.map(({ customer_id, holds }) => [customer_id, holds]))
  return new Map(customerIds.map((id) => [id, counted.get(id) ?? 0]))
}

/**
 * The sweeper releases ended holds, but no order is refused for what they still hold. Orders are locked before products,
 * so the transaction starts again, with the releases as its first commands.
 * @throws RunAgain when there are any
 */
async function releaseEndedHolds(
  trx: Database,
  shortProducts: readonly number[],
  now: DbTime,
  { searched, releases }: Findings,
): Promise<void> {
  const short = distinct(shortProducts).filter((id) => !searched.has(id))
  if (short.length === 0) return
  for (const id of short) searched.add(id)
  const known = new Set(releases.map(({ orderId }) => orderId))
  const ended = (await findEndedHolds(trx, short, now)).filter((id) => !known.has(id))
  for (const orderId of ended) releases.push({ kind: 'expire', orderId, boundTo: null, share: RELEASES })
  if (ended.length > 0) throw new RunAgain()
}

/** For whom holds are released. */
export const RELEASES = 'releases'

function productsOf(commands: readonly PlaceCommand[]): number[] {
  return commands.flatMap(({ items }) => items.map((item) => item.product_id))
}

function returnsPieces({ kind }: ChangeCommand): boolean {
  return kind === 'cancel' || kind === 'expire'
}

function isPlace(command: WriteCommand): command is PlaceCommand {
  return command.kind === 'place'
}

function isChange(command: WriteCommand): command is ChangeCommand {
  return command.kind !== 'place'
}

function distinct(ids: readonly number[]): number[] {
  return [...new Set(ids)]
}

function returnedPieces(canceled: ReadonlySet<number>, lines: OrderLines): Pieces {
  const returned = new Map<number, number>()
  for (const { product_id, qty } of [...canceled].flatMap((id) => lines.get(id) ?? [])) add(returned, product_id, qty)
  return returned
}

function putBack(returned: Pieces, shelves: Map<number, Shelf>): void {
  for (const [id, qty] of returned) {
    const shelf = shelves.get(id)
    if (shelf) shelf.stock += qty
  }
}

/** What the stock of each product changes by. */
function differences(returned: Pieces, placements: readonly Placement[]): Pieces {
  const pieces = new Map(returned)
  for (const { lines } of placements) for (const { product_id, qty } of lines) add(pieces, product_id, -qty)
  return pieces
}

function add(pieces: Map<number, number>, productId: number, qty: number): void {
  pieces.set(productId, (pieces.get(productId) ?? 0) + qty)
}

/** @returns the answers of the placements, in their order */
async function writeChanges(
  trx: Database,
  { confirmed, canceled }: Changed,
  placements: readonly Placement[],
  opening: Opening,
): Promise<Answer[]> {
  const rows = rowsOf(placements, opening.now)
  const moves = { confirmed: [...confirmed], canceled: [...canceled] }
  const { moved, ids } = await moveAndInsertOrders(trx, moves, rows, opening)
  // The rows are locked, so all of them move. Were it ever otherwise, starting again is right, and going on is not.
  if (moved !== confirmed.size + canceled.size) throw new RunAgain()
  const orders = rows.map((row, i) => ({ ...row, id: ids[i] ?? 0 }))
  await insertLines(
    trx,
    orders.flatMap(({ id, lines }) => lines.map((line) => ({ ...line, order_id: id }))),
  )
  return orders.map((order) => {
    const body = JSON.stringify(presentOrder(order, order.lines))
    return { targetId: order.id, status: PLACE_ORDER.status, body, replayed: false }
  })
}

function rowsOf(placements: readonly Placement[], now: DbTime) {
  const holds = distinct(placements.map(({ command }) => command.holdMinutes))
  const ends = new Map(holds.map((minutes) => [minutes, addMinutes(now, minutes)]))
  return placements.map(({ command, lines, totalCents }) => ({
    customer_id: command.customerId,
    status: 'CREATED' as const,
    total_cents: totalCents,
    created_at: now,
    confirmed_at: null,
    canceled_at: null,
    expires_at: ends.get(command.holdMinutes) ?? null,
    lines,
  }))
}

function outcomeOf(decision: PlaceDecision, made: readonly Answer[]): Answer | AppError {
  return 'place' in decision ? { ...answerAt(made, decision.place), replayed: decision.replayed } : decision
}

function answerAt(made: readonly Answer[], place: number): Answer {
  return found(made[place])
}

function found<T>(outcome: T | undefined): T {
  if (outcome === undefined) throw new Error('a command has no outcome')
  return outcome
}
