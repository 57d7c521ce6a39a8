import type { CompiledQuery } from 'kysely'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { addMinutes, type DbTime } from '../core/time.ts'
import { bulkInsert, chunks } from '../database/bulk-insert.ts'
import { compileOnce } from '../database/compiled-query.ts'
import { dialectOf } from '../database/dialect.ts'
import { enqueueWrite } from '../database/pipeline.ts'
import { findLockedRows } from '../database/row-locks.ts'
import type { Database } from '../database/types.ts'
import { type Claim, claimId, idOf, storedPrincipals, unboundId } from './claim.ts'

/** The response to a keyed request. `body` is the JSON text itself: a replay is the same bytes. */
export interface StoredResponse {
  targetId: number
  status: number
  body: string
  replayed: boolean
}

interface FirstResponse {
  requestHash: string
  response: StoredResponse
}

/** Stored responses, by {@link claimId}. */
export type StoredResponses = ReadonlyMap<string, FirstResponse>

/** The stored response as a replay, or the refusal when the key was used for another request. */
export function replayOf(claim: Claim, first: FirstResponse): StoredResponse | AppError {
  return first.requestHash === claim.requestHash ? { ...first.response, replayed: true } : keyReused()
}

export function keyReused(): AppError {
  const detail = 'This idempotency key was used for another request. Use a new key for a new request.'
  return new AppError(PLATFORM_ERRORS.idempotency_key_reused, detail)
}

/** What a transaction reads first. */
export interface Preamble {
  /** The database's clock: machines may disagree about the time, the database agrees with itself. */
  now: DbTime
  /** How far apart the server's generated ids are. */
  idStep: number
  /** The stored responses to the claims. */
  responses: StoredResponses
}

interface PreambleRow {
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

/** The clock and the stored responses to some claims, in one round trip. */
export async function readPreamble(db: Database, claims: readonly Claim[]): Promise<Preamble> {
  const { rows } = await db.executeQuery(preambleQuery(db, claims))
  return preambleOf(db, claims, rows)
}

/** Reads the clock and the stored responses to some claims. Its rows are for {@link preambleOf}. */
export function preambleQuery(db: Database, claims: readonly Claim[]): CompiledQuery<PreambleRow> {
  const { now, idStep } = dialectOf(db)
  const { operations, keys } = namesOf(claims)
  return compileOnce(db, `preamble ${operations.length} ${keys.length}`, [...operations, ...keys], () =>
    db
      .selectFrom(db.selectNoFrom([now.as('now'), idStep.as('id_step')]).as('clock'))
      .leftJoin('idempotency_keys as k', (join) => join.on('k.operation', 'in', operations).on('k.key', 'in', keys))
      .select(['clock.now', 'clock.id_step', 'k.operation', 'k.key', 'k.principal', 'k.request_hash'])
      .select(['k.target_id', 'k.status', 'k.response_body', 'k.expires_at']),
  )
}

/** With no claims, searches for '', which matches no row: SQL has no empty IN list. */
function namesOf(claims: readonly Claim[]) {
  if (claims.length === 0) return { operations: [''], keys: [''] }
  const operations = [...new Set(claims.map((claim) => claim.operation.name))]
  return { operations, keys: claims.map((claim) => claim.key) }
}

/** Also deletes keys past their time, so that callers may use them again. */
export async function preambleOf(
  db: Database,
  claims: readonly Claim[],
  rows: readonly PreambleRow[],
): Promise<Preamble> {
  const [clock] = rows
  if (clock === undefined) throw new Error('the database has no clock')
  const responses = new Map<string, FirstResponse>()
  let expired = 0
  for (const { operation, key, principal, request_hash, target_id, status, response_body, expires_at } of rows) {
    if (operation === null || key === null || principal === null || request_hash === null) continue
    if (target_id === null || status === null || response_body === null || expires_at === null) continue
    if (expires_at <= clock.now) expired++
    else {
      const response = { targetId: target_id, status, body: response_body, replayed: false }
      responses.set(idOf(operation, key, principal), { requestHash: request_hash, response })
    }
  }
  if (expired > 0) await deleteExpired(db, claims, clock.now)
  addBoundResponses(claims, responses)
  return { now: clock.now, idStep: clock.id_step, responses }
}

async function deleteExpired(db: Database, claims: readonly Claim[], now: DbTime): Promise<void> {
  const { operations, keys } = namesOf(claims)
  await db
    .deleteFrom('idempotency_keys')
    .where('operation', 'in', operations)
    .where('key', 'in', keys)
    .where('expires_at', '<=', now)
    .execute()
}

/** Adds the responses to bound clients that are stored under the client alone: see {@link storedPrincipals}. */
function addBoundResponses(claims: readonly Claim[], responses: Map<string, FirstResponse>): void {
  for (const claim of claims) {
    if (claim.bound === undefined || responses.has(claimId(claim))) continue
    const found = responses.get(unboundId(claim, claim.bound))
    if (found && isOwnedBy(claim.bound.owner, claim, found.response)) responses.set(claimId(claim), found)
  }
}

/** A response that names no owner is nobody's in particular. */
function isOwnedBy(owner: number, { operation }: Claim, { body }: StoredResponse): boolean {
  const named = operation.ownerOf?.(body)
  return named === undefined || named === owner
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

/**
 * Writes the first responses to these claims, with the transaction's next statement. When another transaction committed
 * one of the keys meanwhile, the whole transaction starts again and then finds that response: a key that can be seen
 * always has its final response.
 */
export async function storeResponses(
  trx: Database,
  records: readonly { claim: Claim; response: StoredResponse }[],
  { now, responses, ttlMinutes }: Pick<Preamble, 'now' | 'responses'> & { ttlMinutes: number },
): Promise<void> {
  const expires_at = addMinutes(now, ttlMinutes)
  const principals = storedPrincipals(
    records.map(({ claim }) => claim),
    responses.keys(),
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
    // In one order everywhere, two transactions that write the same keys wait for each other instead of deadlocking.
    .sort((a, b) => (a.key < b.key ? -1 : 1))
  for (const chunk of chunks(rows, dialectOf(trx).rowsPerInsert(KEY_COLUMNS.length))) {
    await enqueueWrite(trx, bulkInsert('idempotency_keys', KEY_COLUMNS, chunk))
  }
}

/** The claims that another transaction is writing: their rows are locked although they cannot be seen yet. */
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
