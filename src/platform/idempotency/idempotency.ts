import { type CompiledQuery, sql } from 'kysely'
import { sha256 } from '../core/crypto.ts'
import { AppError } from '../core/errors.ts'
import { addMinutes, type DbTime } from '../core/time.ts'
import { unsafeCast } from '../core/unsafe-cast.ts'
import { bulkInsert, chunks } from '../database/bulk-insert.ts'
import { compileOnce } from '../database/compiled-query.ts'
import { dialectOf } from '../database/dialect.ts'
import { enqueueWrite } from '../database/pipeline.ts'
import { findLockedRows } from '../database/row-locks.ts'
import { RestartTransaction, transactAlone } from '../database/transaction.ts'
import type { Database } from '../database/types.ts'
import type { Principal } from '../http/auth.ts'

/** What a key belongs to besides its principal, and the HTTP status of the one answer that is ever stored for it. */
export interface Operation {
  name: string
  status: number
  targetType: string
}

/** One caller's right to do one thing once. */
export interface Claim {
  operation: Operation
  key: string
  principal: string
  /** Of a client that is bound to a customer: both its parts. */
  bound?: { principal: string; customerId: number }
  /** SHA-256 of the request, so that another request under the same key is told apart. */
  requestHash: string
}

/** The answer to a keyed request. `body` is the JSON text itself: a replay is the same bytes. */
export interface StoredResponse {
  targetId: number
  status: number
  body: string
  replayed: boolean
}

/**
 * @param key the caller's key; without one the request gets a key of its own, so that our own retry after a lost
 *   commit finds what it did instead of doing it twice
 * @param request everything that makes the request what it is, in a fixed order
 */
export function claimOf(
  operation: Operation,
  principal: Principal,
  key: string | undefined,
  ...request: unknown[]
): Claim {
  const requestHash = sha256(JSON.stringify(request))
  return { operation, key: key ?? `once:${crypto.randomUUID()}`, ...claimantOf(principal), requestHash }
}

/**
 * Whose a key is. A bound client's customer is part of it: a token of the same subject for another customer has keys of
 * its own. No principal id has a `#`.
 */
function claimantOf({ id, customerId }: Principal): Pick<Claim, 'principal' | 'bound'> {
  if (customerId === null) return { principal: id }
  return { principal: `${id}#${customerId}`, bound: { principal: id, customerId } }
}

/** How a claim is looked up among others. */
export function claimId({ operation, key, principal }: Claim): string {
  return nameOf(operation.name, key, principal)
}

function nameOf(operation: string, key: string, principal: string): string {
  return `${operation} ${key} ${principal}`
}

/** The stored answer as a replay, or the refusal when the key was used for another request. */
export function replayOf(
  claim: Claim,
  first: { requestHash: string; response: StoredResponse },
): StoredResponse | AppError {
  return first.requestHash === claim.requestHash ? { ...first.response, replayed: true } : keyReused()
}

export function keyReused(): AppError {
  const detail = 'This idempotency key was used for another request. Use a new key for a new request.'
  return new AppError('idempotency_key_reused', detail)
}

/** Stored answers, by {@link claimId}. */
export type StoredResponses = ReadonlyMap<string, { requestHash: string; response: StoredResponse }>

/** What a transaction begins by reading. */
export interface Preamble {
  /** The database's clock. Two machines of ours can disagree; the database can't disagree with itself. */
  now: DbTime
  /** How far apart the server's generated ids are. */
  idStep: number
  /** The stored answers to the claims. */
  responses: StoredResponses
}

interface OpeningRow {
  now: DbTime
  id_step: number
  operation: string | null
  key: string | null
  principal: string | null
  request_hash: string | null
  target_id: number | null
  status: number | null
  response_body: string | null
  expires_at: DbTime | null
}

/** Asks for the clock and the stored answers of some claims. Its rows are for {@link preambleOf}. */
export function preambleQuery(db: Database, claims: readonly Claim[]): CompiledQuery<OpeningRow> {
  const { now, idStep } = dialectOf(db)
  const { operations, keys } = namesOf(claims)
  return compileOnce(db, `opening ${operations.length} ${keys.length}`, [...operations, ...keys], () =>
    db
      .selectFrom(db.selectNoFrom([now.as('now'), idStep.as('id_step')]).as('clock'))
      .leftJoin('idempotency_keys as k', (join) => join.on('k.operation', 'in', operations).on('k.key', 'in', keys))
      .select(['clock.now', 'clock.id_step', 'k.operation', 'k.key', 'k.principal', 'k.request_hash'])
      .select(['k.target_id', 'k.status', 'k.response_body', 'k.expires_at']),
  )
}

/** None are looked for by names that nobody has. */
function namesOf(claims: readonly Claim[]) {
  if (claims.length === 0) return { operations: [''], keys: [''] }
  const operations = [...new Set(claims.map((claim) => claim.operation.name))]
  return { operations, keys: claims.map((claim) => claim.key) }
}

/** Keys past their time are removed here, so that they are free for the caller to use again. */
export async function preambleOf(
  db: Database,
  claims: readonly Claim[],
  rows: readonly OpeningRow[],
): Promise<Preamble> {
  const [clock] = rows
  if (clock === undefined) throw new Error('the database has no clock')
  const responses = new Map<string, { requestHash: string; response: StoredResponse }>()
  let expired = 0
  for (const { operation, key, principal, request_hash, target_id, status, response_body, expires_at } of rows) {
    if (operation === null || key === null || principal === null || request_hash === null) continue
    if (target_id === null || status === null || response_body === null || expires_at === null) continue
    if (expires_at <= clock.now) expired++
    else {
      const response = { targetId: target_id, status, body: response_body, replayed: false }
      responses.set(nameOf(operation, key, principal), { requestHash: request_hash, response })
    }
  }
  if (expired > 0) {
    const { operations, keys } = namesOf(claims)
    await db
      .deleteFrom('idempotency_keys')
      .where('operation', 'in', operations)
      .where('key', 'in', keys)
      .where('expires_at', '<=', clock.now)
      .execute()
  }
  findBoundResponses(claims, responses)
  return { now: clock.now, idStep: clock.id_step, responses }
}

/** Adds the answers of bound clients that are stored under the client alone: see {@link storedPrincipals}. */
function findBoundResponses(
  claims: readonly Claim[],
  responses: Map<string, { requestHash: string; response: StoredResponse }>,
): void {
  for (const claim of claims) {
    if (claim.bound === undefined || responses.has(claimId(claim))) continue
    const found = responses.get(unboundId(claim, claim.bound))
    if (found && belongsTo(claim.bound.customerId, found.response)) responses.set(claimId(claim), found)
  }
}

function unboundId({ operation, key }: Claim, { principal }: { principal: string }): string {
  return nameOf(operation.name, key, principal)
}

/**
 * Under what each answer is stored. For a bound client that is the client alone, as it always was: during a deployment the
 * version before this one must meet the same row. Only where that row is another's is the customer a part of it.
 */
function storedPrincipals(claims: readonly Claim[], responses: StoredResponses): string[] {
  const taken = new Set([...responses.keys(), ...claims.map(claimId)])
  return claims.map((claim) => {
    const id = claim.bound && unboundId(claim, claim.bound)
    if (claim.bound === undefined || id === undefined || taken.has(id)) return claim.principal
    taken.add(id)
    return claim.bound.principal
  })
}

/** An answer that names no customer is nobody's in particular. */
function belongsTo(customerId: number, { body }: StoredResponse): boolean {
  if (body === '') return true
  const { customer_id } = unsafeCast<{ customer_id?: number }>(JSON.parse(body))
  return customer_id === undefined || customer_id === customerId
}

/** The clock and the stored answers of some claims, in one round trip. */
export async function readPreamble(db: Database, claims: readonly Claim[]): Promise<Preamble> {
  const { rows } = await db.executeQuery(preambleQuery(db, claims))
  return preambleOf(db, claims, rows)
}

/**
 * Writes the first answers of these claims, with the transaction's next statement. When another transaction committed one
 * of the keys meanwhile the whole transaction starts again, and then finds that answer: a key that can be seen always
 * has its final answer.
 */
export async function storeResponses(
  trx: Database,
  records: readonly { claim: Claim; response: StoredResponse }[],
  { now, responses, ttlMinutes }: Pick<Preamble, 'now' | 'responses'> & { ttlMinutes: number },
): Promise<void> {
  const expires_at = addMinutes(now, ttlMinutes)
  const principals = storedPrincipals(
    records.map(({ claim }) => claim),
    responses,
  )
  const rows = records
    .map(({ claim, response }, i) => ({
      operation: claim.operation.name,
      key: claim.key,
      principal: principals[i] ?? claim.principal,
      request_hash: claim.requestHash,
      target_type: claim.operation.targetType,
      target_id: response.targetId,
      status: response.status,
      response_body: response.body,
      created_at: now,
      expires_at,
    }))
    // Two transactions that write the same keys meet in the same order, and so wait instead of deadlocking.
    .sort((a, b) => (a.key < b.key ? -1 : 1))
  for (const some of chunks(rows, dialectOf(trx).rowsPerInsert(KEY_COLUMNS.length))) {
    await enqueueWrite(trx, bulkInsert('idempotency_keys', KEY_COLUMNS, some))
  }
}

const KEY_COLUMNS = [
  'operation',
  'key',
  'principal',
  'request_hash',
  'target_type',
  'target_id',
  'status',
  'response_body',
  'created_at',
  'expires_at',
] as const

/** Those of these claims that another transaction is writing: it has locked them although they can't be seen yet. */
export function findLockedClaims(trx: Database, claims: readonly Claim[]): Promise<Claim[]> {
  return findLockedRows(claims, (some) => {
    const { operations, keys } = namesOf(some)
    return trx
      .selectFrom('idempotency_keys')
      .select('expires_at')
      .where('operation', 'in', operations)
      .where('key', 'in', keys)
      .modifyEnd(dialectOf(trx).forUpdateNoWait)
      .execute()
  })
}

/**
 * Starts the transaction again when one of these claims, about to be refused, has an answer by now: what stands in its
 * way is then its own twin, which was committed since this transaction began.
 */
export async function restartIfAlreadyAnswered(db: Database, refused: readonly Claim[]): Promise<void> {
  if (refused.length === 0) return
  const { responses } = await readPreamble(db, refused)
  if (refused.some((claim) => responses.has(claimId(claim)))) throw new RestartTransaction()
}

/**
 * Does a piece of work at most once for its claim, in one transaction with the record of its answer.
 * For verbs that are called too seldom to be batched. Of an operation that answers 204 only the `id` is kept.
 * @throws AppError `idempotency_key_reused`, and whatever the work throws; a refusal is not stored
 */
export function runIdempotent<T extends { id: number }>(
  db: Database,
  claim: Claim,
  ttlMinutes: number,
  work: (trx: Database, now: DbTime) => Promise<T>,
): Promise<StoredResponse> {
  return transactAlone(db, async (trx) => {
    const { now, responses } = await readPreamble(trx, [claim])
    const first = responses.get(claimId(claim))
    if (first) {
      const replay = replayOf(claim, first)
      if (replay instanceof AppError) throw replay
      return replay
    }
    const made = await work(trx, now).catch(async (refusal) => {
      if (refusal instanceof AppError) await restartIfAlreadyAnswered(trx, [claim])
      throw refusal
    })
    const { status } = claim.operation
    const body = status === 204 ? '' : JSON.stringify(made)
    const response = { targetId: made.id, status, body, replayed: false }
    await storeResponses(trx, [{ claim, response }], { now, responses, ttlMinutes })
    return response
  })
}

/**
 * Replaces the bodies of the answers that some operations stored for one target. For personal data that must go: else a
 * replay is the first answer, byte for byte. The transaction must have locked the target.
 */
export async function rewriteResponses(
  trx: Database,
  operations: readonly Operation[],
  targetId: number,
  rewrite: (body: string) => string,
): Promise<void> {
  const names = operations.map(({ name }) => name)
  const stored = await trx
    .selectFrom('idempotency_keys')
    .select(['operation', 'key', 'principal', 'response_body'])
    .where('operation', 'in', names)
    .where('target_id', '=', targetId)
    .execute()
  for (const { operation, response_body, ...one } of stored) await saveBody(trx, operation, one, rewrite(response_body))
}

const PAGE_OF_RESPONSES = 2_000

/**
 * Replaces the bodies of all stored answers that begin with a text. It reads every record, a page at a time, so it is for
 * what is asked seldom. It may run again.
 */
export async function rewriteResponsesStartingWith(
  db: Database,
  beginning: string,
  rewrite: (body: string) => string,
): Promise<void> {
  const operations = await db.selectFrom('idempotency_keys').select('operation').distinct().execute()
  for (const { operation } of operations) {
    for (let last = { key: '', principal: '' }, full = true; full; ) {
      const rows = await pageOfResponses(db, operation, last, beginning.length)
      for (const row of rows) if (row.beginning === beginning) await rewriteResponse(db, operation, row, rewrite)
      last = rows.at(-1) ?? last
      full = rows.length === PAGE_OF_RESPONSES
    }
  }
}

function pageOfResponses(db: Database, operation: string, { key, principal }: KeyOfOne, length: number) {
  return db
    .selectFrom('idempotency_keys')
    .select(['key', 'principal', sql<string>`substr(response_body, 1, ${length})`.as('beginning')])
    .where('operation', '=', operation)
    .where((eb) => eb.or([eb('key', '>', key), eb('key', '=', key).and('principal', '>', principal)]))
    .orderBy('key')
    .orderBy('principal')
    .limit(PAGE_OF_RESPONSES)
    .execute()
}

interface KeyOfOne {
  key: string
  principal: string
}

async function rewriteResponse(
  db: Database,
  operation: string,
  { key, principal }: KeyOfOne,
  rewrite: (body: string) => string,
): Promise<void> {
  await transactAlone(db, async (trx) => {
    const one = trx.selectFrom('idempotency_keys').select('response_body').where('operation', '=', operation)
    const row = await one
      .where('key', '=', key)
      .where('principal', '=', principal)
      .modifyEnd(dialectOf(trx).forUpdate)
      .executeTakeFirst()
    if (row) await saveBody(trx, operation, { key, principal }, rewrite(row.response_body))
  })
}

async function saveBody(trx: Database, operation: string, { key, principal }: KeyOfOne, body: string): Promise<void> {
  await trx
    .updateTable('idempotency_keys')
    .set({ response_body: body })
    .where('operation', '=', operation)
    .where('key', '=', key)
    .where('principal', '=', principal)
    .execute()
}

/** Removes records whose time has passed, about `limit` of them, and returns how many. */
export async function purgeExpiredKeys(db: Database, limit: number): Promise<number> {
  const last = await db
    .selectFrom('idempotency_keys')
    .select('expires_at')
    .where('expires_at', '<=', dialectOf(db).now)
    .orderBy('expires_at')
    .limit(1)
    .offset(limit - 1)
    .executeTakeFirst()
  const { numDeletedRows } = await db
    .deleteFrom('idempotency_keys')
    .where('expires_at', '<=', last?.expires_at ?? dialectOf(db).now)
    .executeTakeFirst()
  return Number(numDeletedRows)
}
