import { type RawBuilder, type SqlBool, sql } from 'kysely'
import { dialectOf } from '../database/dialect.ts'
import { transactAlone } from '../database/transaction.ts'
import type { Database } from '../database/types.ts'
import type { Operation } from './claim.ts'

/**
 * Replaces the bodies of the responses that some operations stored for one target. For personal data that must go: without
 * it, a replay is the first response byte for byte. The transaction must have locked the target.
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
  for (const { operation, response_body, ...key } of stored) await saveBody(trx, operation, key, rewrite(response_body))
}

interface StoredKey {
  key: string
  principal: string
}

const PAGE_SIZE = 2_000

/**
 * Replaces all stored bodies that begin with a text. It reads every record, a page at a time: only for rare requests. It may
 * run again.
 */
export function rewriteResponsesStartingWith(
  db: Database,
  beginning: string,
  rewrite: (body: string) => string,
): Promise<void> {
  return rewriteResponsesWhere(db, sql`substr(response_body, 1, ${beginning.length}) = ${beginning}`, rewrite)
}

/**
 * Like {@link rewriteResponsesStartingWith}, for the bodies that a condition on `response_body` selects: the database
 * tests it, so that other bodies are not read.
 */
export async function rewriteResponsesWhere(
  db: Database,
  condition: RawBuilder<SqlBool>,
  rewrite: (body: string) => string,
): Promise<void> {
  const operations = await db.selectFrom('idempotency_keys').select('operation').distinct().execute()
  for (const { operation } of operations) {
    for (let cursor = { key: '', principal: '' }, full = true; full; ) {
      const rows = await readPage(db, operation, cursor, condition)
      for (const row of rows) if (row.matches) await rewriteResponse(db, operation, row, rewrite)
      cursor = rows.at(-1) ?? cursor
      full = rows.length === PAGE_SIZE
    }
  }
}

function readPage(db: Database, operation: string, { key, principal }: StoredKey, condition: RawBuilder<SqlBool>) {
  return db
    .selectFrom('idempotency_keys')
    .select(['key', 'principal', sql<SqlBool>`(${condition})`.as('matches')])
    .where('operation', '=', operation)
    .where((eb) => eb.or([eb('key', '>', key), eb('key', '=', key).and('principal', '>', principal)]))
    .orderBy('key')
    .orderBy('principal')
    .limit(PAGE_SIZE)
    .execute()
}

async function rewriteResponse(
  db: Database,
  operation: string,
  { key, principal }: StoredKey,
  rewrite: (body: string) => string,
): Promise<void> {
  await transactAlone(db, async (trx) => {
    const row = await trx
      .selectFrom('idempotency_keys')
      .select('response_body')
      .where('operation', '=', operation)
      .where('key', '=', key)
      .where('principal', '=', principal)
      .modifyEnd(dialectOf(trx).forUpdate)
      .executeTakeFirst()
    if (row) await saveBody(trx, operation, { key, principal }, rewrite(row.response_body))
  })
}

async function saveBody(trx: Database, operation: string, { key, principal }: StoredKey, body: string): Promise<void> {
  await trx
    .updateTable('idempotency_keys')
    .set({ response_body: body })
    .where('operation', '=', operation)
    .where('key', '=', key)
    .where('principal', '=', principal)
    .execute()
}
