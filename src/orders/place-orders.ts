import { liveCustomersQuery, lockCustomersQuery } from '../customers/customer-rows.ts'
import { type RunMode, SetAside } from '../platform/batching/batcher.ts'
import { AppError, isRefusal } from '../platform/core/errors.ts'
import { addMinutes, type DbTime, dayIn } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { pipeline, withLockWait } from '../platform/database/pipeline.ts'
import type { Database } from '../platform/database/types.ts'
import { recordEvents } from '../platform/events/record.ts'
import { restartIfAlreadyAnswered } from '../platform/idempotency/run.ts'
import { type Preamble, preambleOf, preambleQuery, type StoredResponse } from '../platform/idempotency/store.ts'
import { PRODUCT_ERRORS } from '../products/errors.ts'
import { lockStockQuery, reserveStock, type StockRow } from '../products/stock.ts'
import { changeOrders, type WriteConfig } from './change-orders.ts'
import { PLACE_ORDER, type PlaceCommand, poNumbersOf, releaseHold } from './commands.ts'
import type { OrderConfig } from './config.ts'
import { columnsOf } from './detail-columns.ts'
import { ORDER_ERRORS } from './errors.ts'
import { orderPlaced } from './events.ts'
import { claimsIn, type Outcome, outcomesOf, sortByDecision, sortByKey, storeOutcomes } from './keyed-commands.ts'
import { transactCommands } from './locked-commands.ts'
import { type Order, presentBrief, presentOrder } from './order-response.ts'
import { isHoldEnded } from './order-states.ts'
import {
  type Decision,
  decidePlacements,
  type Facts,
  type Placement,
  poKeyOf,
  poName,
  poNumberTaken,
  quantities,
  TakenInBatch,
} from './placement-rules.ts'
import { findEndedHolds, insertLines, insertOrders, type NewOrderRow, openHoldsQuery, poHoldersQuery } from './store.ts'

export type PlaceConfig = WriteConfig & Pick<OrderConfig, 'timeZone' | 'currency'>

/**
 * Places orders, and confirms some of them, in one transaction: orders, lines, stock, events and stored responses commit
 * together. An order whose stock or PO number an ended hold keeps is tried again after the hold is released.
 * @returns for each command its response or its refusal (those of `decidePlacements`, and `idempotency_key_reused`); or
 *   `SetAside`, in a run that does not wait for locks
 * @throws RowsLocked
 */
export async function placeOrders(
  db: Database,
  commands: readonly PlaceCommand[],
  config: PlaceConfig,
  mode: RunMode,
): Promise<Outcome[]> {
  const { outcomes, endedHolds } = await placeAll(db, commands, config, mode)
  if (endedHolds.length === 0) return outcomes
  const isBlocked = (outcome: Outcome | undefined) => isShort(outcome) || isTakenBy(endedHolds, outcome)
  const blocked = commands.filter((_, i) => isBlocked(outcomes[i]))
  const again = await placeAfterRelease(db, blocked, endedHolds, config, mode)
  return outcomes.map((outcome) => (isBlocked(outcome) ? (again.shift() ?? outcome) : outcome))
}

/**
 * Commands are set aside when other transactions have locked all of these holds. Those may be returning the stock at
 * this moment, so a refusal could be wrong.
 * @returns for each command its outcome
 */
async function placeAfterRelease(
  db: Database,
  commands: readonly PlaceCommand[],
  endedHolds: readonly number[],
  config: PlaceConfig,
  mode: RunMode,
): Promise<Outcome[]> {
  try {
    const locked = await releaseHolds(db, endedHolds, config, mode)
    if (locked !== undefined) return commands.map(() => new SetAside(locked))
    return await placeOrders(db, commands, config, mode)
  } catch (error) {
    // The other commands of the batch are already placed, so the error must fail only these.
    if (error instanceof AppError) return commands.map(() => error)
    throw error
  }
}

interface Placed {
  outcomes: Outcome[]
  /** Orders with an ended hold whose stock or PO number a refused order needs. */
  endedHolds: number[]
}

async function placeAll(
  db: Database,
  commands: readonly PlaceCommand[],
  config: PlaceConfig,
  mode: RunMode,
): Promise<Placed> {
  let endedHolds: number[] = []
  const outcomes = await transactCommands(db, commands, mode, async (trx, open) => {
    const { preamble, facts, stock, endedHolders } = await readAndLock(trx, open, config)
    const keyed = sortByKey(open, preamble.responses)
    const { accepted, refused, taken } = sortPlacements(keyed.firsts, decidePlacements(keyed.firsts, facts))
    await restartIfAlreadyAnswered(trx, claimsIn(new Map<PlaceCommand, unknown>([...refused, ...taken])))
    const refusals = [...refused.values()]
    endedHolds = await findEndedHolds(trx, refusals.flatMap(shortProducts))
    endedHolds.push(...endedHolders.filter((id) => refusals.some((refusal) => isTakenBy([id], refusal))))

    await reserveStock(trx, stock, quantitiesOf(accepted), preamble.now)
    const responses = await insertPlacements(trx, accepted, preamble)
    await storeOutcomes(trx, responses, preamble, config.idempotencyTtlMinutes)
    return outcomesOf(keyed, new Map([...refused, ...refusalsOf(taken, responses)]), responses)
  })
  return { outcomes, endedHolds }
}

/** Commands whose PO number an order of the same batch gets, with the command of that order. */
type Taken = ReadonlyMap<PlaceCommand, PlaceCommand>

function sortPlacements(commands: readonly PlaceCommand[], decisions: readonly Decision<PlaceCommand>[]) {
  const taken = new Map<PlaceCommand, PlaceCommand>()
  const others = decisions.map((decision, i) => {
    const command = commands[i]
    if (!(decision instanceof TakenInBatch)) return decision
    if (command) taken.set(command, decision.winner)
    return undefined
  })
  return { ...sortByDecision(commands, others), taken }
}

function refusalsOf(taken: Taken, responses: ReadonlyMap<PlaceCommand, StoredResponse>): Map<PlaceCommand, AppError> {
  return new Map([...taken].map(([command, winner]) => [command, poNumberTaken(responses.get(winner)?.targetId ?? 0)]))
}

type Placements = ReadonlyMap<PlaceCommand, Placement>

/**
 * Reads and locks everything that the decisions need, in one round trip. Replays lock rows that they do not need:
 * replays are rare, and checking first would cost every batch a round trip.
 */
async function readAndLock(
  trx: Database,
  commands: readonly PlaceCommand[],
  config: PlaceConfig,
): Promise<{ preamble: Preamble; facts: Facts; stock: ReadonlyMap<number, StockRow>; endedHolders: number[] }> {
  const claims = commands.map(({ claim }) => claim)
  const customerIds = distinct(commands.map(({ customerId }) => customerId))
  const [clock, customers, products, holders] = await pipeline(
    trx,
    preambleQuery(trx, claims),
    liveCustomersQuery(trx, customerIds),
    withLockWait(trx, lockStockQuery(trx, productsOf(commands)), config.runLockWaitMs),
    // After the locks: who waited for another order's stock must see its PO number too.
    poHoldersQuery(trx, commands.flatMap(poNumbersOf)),
  )
  const preamble = await preambleOf(trx, claims, clock)
  const stock = new Map(products.map((product) => [product.id, product]))
  const facts = {
    products: stock,
    customers: new Map(customers.map((customer) => [customer.id, customer])),
    openHolds: await countOpenHolds(trx, commands, preamble.now, config),
    poHolders: new Map(holders.map(({ customerId, poKey, id }) => [poName(customerId, poKey), id])),
    today: dayIn(config.timeZone, preamble.now),
    currency: config.currency,
  }
  return {
    preamble,
    facts,
    stock,
    endedHolders: holders.filter((it) => isHoldEnded(it, preamble.now)).map(({ id }) => id),
  }
}

/** Counts the holds of customers with a limit, and locks these customers so that no other order is placed for them. */
async function countOpenHolds(
  trx: Database,
  commands: readonly PlaceCommand[],
  now: DbTime,
  { runLockWaitMs }: WriteConfig,
): Promise<Map<number, number>> {
  const limited = commands.filter(({ maxOpenHolds }) => maxOpenHolds !== null)
  const customerIds = distinct(limited.map(({ customerId }) => customerId))
  const [, counts] = await pipeline(
    trx,
    withLockWait(trx, lockCustomersQuery(trx, customerIds), runLockWaitMs),
    openHoldsQuery(trx, customerIds, now),
  )
  return new Map(counts.map(({ customer_id, holds }) => [customer_id, holds]))
}

function quantitiesOf(placements: Placements): Map<number, number> {
  return quantities([...placements.values()].flatMap(({ lines }) => lines))
}

async function insertPlacements(
  trx: Database,
  placements: Placements,
  { now, idStep }: Preamble,
): Promise<Map<PlaceCommand, StoredResponse>> {
  const rows = [...placements].map(([command, placement]) => ({
    command,
    ...placement,
    row: rowOf(command, placement, now),
  }))
  const ids = await insertOrders(
    trx,
    rows.map(({ row }) => row),
    idStep,
  )
  const placed = rows.map(({ row, ...rest }, i) => ({ ...rest, order: { ...row, id: ids[i] ?? 0 } }))
  await insertLines(
    trx,
    placed.flatMap(({ order, lines }) => lines.map((line) => ({ ...line, order_id: order.id }))),
  )
  const shown = placed.map(({ command, order, lines }) => ({ command, order: presentOrder(order, lines) }))
  await recordEvents(
    trx,
    shown.map(({ command, order }) => orderPlaced(order, command.cause)),
    now,
  )
  return new Map(shown.map(({ command, order }) => [command, responseOf(command, order)]))
}

/** The orchestrator's response has the customer, and shows the order shorter. */
function responseOf({ customer }: PlaceCommand, order: Order): StoredResponse {
  const body = JSON.stringify(customer === undefined ? order : { customer, order: presentBrief(order) })
  return { targetId: order.id, status: PLACE_ORDER.status, body, replayed: false }
}

function rowOf(command: PlaceCommand, { totalCents, poSlot }: Placement, now: DbTime): Omit<NewOrderRow, 'id'> {
  const { customerId, holdMinutes, origin, details } = command
  const isHold = holdMinutes !== null
  return {
    customer_id: customerId,
    status: isHold ? 'CREATED' : 'CONFIRMED',
    total_cents: totalCents,
    created_at: now,
    confirmed_at: isHold ? null : now,
    canceled_at: null,
    expires_at: isHold ? addMinutes(now, holdMinutes) : null,
    ...origin,
    ...columnsOf(details),
    po_key: poKeyOf(details),
    po_slot: poSlot,
    version: 1,
  }
}

/**
 * Releases ended holds before the sweeper does, so that no order is refused for lack of their stock. The release is a
 * transaction of its own, because orders are locked before products.
 * @returns the locked rows, when other transactions have locked all of these orders; undefined when any hold is
 *   released
 */
async function releaseHolds(
  db: Database,
  orderIds: readonly number[],
  config: PlaceConfig,
  mode: RunMode,
): Promise<string[] | undefined> {
  const outcomes = await changeOrders(db, orderIds.map(releaseHold), config, { ...mode, waitsForLocks: false })
  const locked = outcomes.flatMap((outcome) => (outcome instanceof SetAside ? [outcome.rows] : []))
  return locked.length === outcomes.length ? locked.flat() : undefined
}

function isShort(outcome: Outcome | undefined): outcome is AppError {
  return isRefusal(outcome, PRODUCT_ERRORS.insufficient_stock)
}

/** Whether one of these orders has the PO number that a refused order asks for. */
function isTakenBy(orderIds: readonly number[], outcome: Outcome | undefined): boolean {
  return isRefusal(outcome, ORDER_ERRORS.po_number_taken) && orderIds.some((id) => id === outcome.extra.order_id)
}

/** The products of which a refused order needs more stock. */
function shortProducts(refusal: AppError): number[] {
  if (!isShort(refusal)) return []
  return unsafeCast<{ lines: { product_id: number }[] }>(refusal.extra).lines.map(({ product_id }) => product_id)
}

function productsOf(commands: readonly PlaceCommand[]): number[] {
  return distinct(commands.flatMap(({ items }) => items.map((item) => item.product_id)))
}

function distinct(ids: readonly number[]): number[] {
  return [...new Set(ids)]
}
