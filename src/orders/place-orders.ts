import { liveCustomersQuery, lockCustomersQuery } from '../customers/customer-rows.ts'
import { type RunMode, SetAside } from '../platform/batching/batcher.ts'
import { AppError, isRefusal } from '../platform/core/errors.ts'
import { addMinutes, type DbTime } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { pipeline, withLockWait } from '../platform/database/pipeline.ts'
import type { Database } from '../platform/database/types.ts'
import { restartIfAlreadyAnswered } from '../platform/idempotency/run.ts'
import { type Preamble, preambleOf, preambleQuery, type StoredResponse } from '../platform/idempotency/store.ts'
import { PRODUCT_ERRORS } from '../products/errors.ts'
import { lockStockQuery, reserveStock } from '../products/stock.ts'
import { changeOrders, type WriteConfig } from './change-orders.ts'
import { PLACE_ORDER, type PlaceCommand, releaseHold } from './commands.ts'
import { claimsIn, type Outcome, outcomesOf, sortByDecision, sortByKey, storeOutcomes } from './keyed-commands.ts'
import { transactCommands } from './locked-commands.ts'
import { presentPlacedOrder } from './order-response.ts'
import { decidePlacements, type Placement, quantities, type Supply } from './placement-rules.ts'
import { findEndedHolds, insertLines, insertOrders, type NewOrderRow, openHoldsQuery } from './store.ts'

/**
 * Places orders, and confirms some of them, in one transaction: orders, lines, stock and stored responses commit
 * together. An order with too little stock is tried again with the stock of ended holds.
 * @returns for each command its response or its refusal (`customer_not_found`, `product_not_found`, `too_many_holds`,
 *   `insufficient_stock`, `amount_too_large`, `idempotency_key_reused`); or `SetAside`, in a run that does not wait for
 *   locks
 * @throws RowsLocked
 */
export async function placeOrders(
  db: Database,
  commands: readonly PlaceCommand[],
  config: WriteConfig,
  mode: RunMode,
): Promise<Outcome[]> {
  const { outcomes, endedHolds } = await placeAll(db, commands, config, mode)
  if (endedHolds.length === 0) return outcomes
  const short = commands.filter((_, i) => isShort(outcomes[i]))
  const again = await placeAfterRelease(db, short, endedHolds, config, mode)
  return outcomes.map((outcome) => (isShort(outcome) ? (again.shift() ?? outcome) : outcome))
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
  config: WriteConfig,
  mode: RunMode,
): Promise<Outcome[]> {
  try {
    const locked = await releaseHolds(db, endedHolds, config)
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
  /** Orders with an ended hold whose stock a refused order needs. */
  endedHolds: number[]
}

async function placeAll(
  db: Database,
  commands: readonly PlaceCommand[],
  config: WriteConfig,
  mode: RunMode,
): Promise<Placed> {
  let endedHolds: number[] = []
  const outcomes = await transactCommands(db, commands, mode, async (trx, open) => {
    const { preamble, supply } = await readAndLock(trx, open, config)
    const keyed = sortByKey(open, preamble.responses)
    const { accepted, refused } = sortByDecision(keyed.firsts, decidePlacements(keyed.firsts, supply))
    await restartIfAlreadyAnswered(trx, claimsIn(refused))
    endedHolds = await findEndedHolds(trx, [...refused.values()].flatMap(shortProducts))

    await reserveStock(trx, quantitiesOf(accepted), preamble.now)
    const responses = await insertPlacements(trx, accepted, preamble)
    await storeOutcomes(trx, responses, preamble, config.idempotencyTtlMinutes)
    return outcomesOf(keyed, refused, responses)
  })
  return { outcomes, endedHolds }
}

type Placements = ReadonlyMap<PlaceCommand, Placement>

/**
 * Reads and locks everything that the decisions need, in one round trip. Replays lock rows that they do not need:
 * replays are rare, and checking first would cost every batch a round trip.
 */
async function readAndLock(
  trx: Database,
  commands: readonly PlaceCommand[],
  config: WriteConfig,
): Promise<{ preamble: Preamble; supply: Supply }> {
  const claims = commands.map(({ claim }) => claim)
  const customerIds = distinct(commands.map(({ customerId }) => customerId))
  const [clock, customers, products] = await pipeline(
    trx,
    preambleQuery(trx, claims),
    liveCustomersQuery(trx, customerIds),
    withLockWait(trx, lockStockQuery(trx, productsOf(commands)), config.runLockWaitMs),
  )
  const preamble = await preambleOf(trx, claims, clock)
  const supply = {
    products: new Map(products.map((product) => [product.id, product])),
    customers: new Set(customers.map(({ id }) => id)),
    openHolds: await countOpenHolds(trx, commands, preamble.now, config),
  }
  return { preamble, supply }
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
  return new Map(
    placed.map(({ command, order, lines }) => {
      const body = JSON.stringify(presentPlacedOrder(order, lines, command.customer))
      return [command, { targetId: order.id, status: PLACE_ORDER.status, body, replayed: false }]
    }),
  )
}

function rowOf({ customerId, holdMinutes, origin }: PlaceCommand, { totalCents }: Placement, now: DbTime): NewOrderRow {
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
  config: WriteConfig,
): Promise<string[] | undefined> {
  const outcomes = await changeOrders(db, orderIds.map(releaseHold), config, { waitsForLocks: false })
  const locked = outcomes.flatMap((outcome) => (outcome instanceof SetAside ? [outcome.rows] : []))
  return locked.length === outcomes.length ? locked.flat() : undefined
}

function isShort(outcome: Outcome | undefined): outcome is AppError {
  return isRefusal(outcome, PRODUCT_ERRORS.insufficient_stock)
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
