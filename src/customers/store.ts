import { type Selectable, sql } from 'kysely'
import type { DbTime } from '../platform/core/time.ts'
import { dialectOf } from '../platform/database/dialect.ts'
import type { Tables } from '../platform/database/tables.ts'
import { tokenize } from '../platform/database/tokenize.ts'
import type { Database } from '../platform/database/types.ts'
import {
  deleteWords,
  insertWords,
  searchWords,
  type WordIndex,
  type WordSearch,
} from '../platform/database/word-index.ts'

/** By name: a derived column, or one of a later version, is nobody's business. */
const COLUMNS = [
  'id',
  'name',
  'email',
  'phone',
  'external_id',
  'po_policy',
  'version',
  'created_at',
  'updated_at',
  'deleted_at',
] as const

export type CustomerRow = Pick<Selectable<Tables['customers']>, (typeof COLUMNS)[number]>

const CUSTOMER_WORDS: WordIndex = {
  table: 'customers',
  words: 'customer_words',
  owner: 'customer_id',
  byOwner: 'customer_words_customer',
}

export type CustomerFields = Pick<CustomerRow, 'name' | 'email' | 'phone' | 'external_id' | 'po_policy'>

export type PersonalFields = Omit<CustomerFields, 'po_policy'>

/** The unique indexes, as each engine's errors name them. */
export const EMAIL_INDEX = { index: 'customers_email_key', column: 'customers.email_key' }
export const EXTERNAL_ID_INDEX = { index: 'customers_external_id', column: 'customers.live_external_id' }

export async function insertCustomer(db: Database, fields: CustomerFields, now: DbTime): Promise<number> {
  const { insertId } = await db
    .insertInto('customers')
    .values({ ...fields, email_key: emailKey(fields.email), created_at: now, updated_at: now })
    .executeTakeFirstOrThrow()
  const id = Number(insertId)
  await indexCustomer(db, id, fields)
  return id
}

export function findCustomer(db: Database, id: number): Promise<CustomerRow | undefined> {
  return liveCustomers(db).where('id', '=', id).executeTakeFirst()
}

/** The customers among these ids that exist. */
export function findCustomers(db: Database, ids: readonly number[]): Promise<CustomerRow[]> {
  return liveCustomers(db).where('id', 'in', ids).execute()
}

/** Like {@link findCustomer}, and locks the customer until the transaction ends. */
export function lockCustomer(db: Database, id: number): Promise<CustomerRow | undefined> {
  return liveCustomers(db).where('id', '=', id).modifyEnd(dialectOf(db).forUpdate).executeTakeFirst()
}

/** Like {@link lockCustomer}, and finds deleted customers too. */
export function lockCustomerInternal(db: Database, id: number): Promise<CustomerRow | undefined> {
  const { forUpdate } = dialectOf(db)
  return db.selectFrom('customers').select(COLUMNS).where('id', '=', id).modifyEnd(forUpdate).executeTakeFirst()
}

export async function updateCustomer(db: Database, id: number, fields: CustomerFields, now: DbTime): Promise<void> {
  await db
    .updateTable('customers')
    .set((eb) => ({ ...fields, email_key: emailKey(fields.email), updated_at: now, version: eb('version', '+', 1) }))
    .where('id', '=', id)
    .execute()
  await deleteWords(db, CUSTOMER_WORDS, id)
  await indexCustomer(db, id, fields)
}

/**
 * Marks a customer as deleted. The row stays for the orders that refer to it; its e-mail is free again and its words
 * are deleted. The index of external ids skips deleted rows by itself.
 */
export async function softDeleteCustomer(db: Database, id: number, now: DbTime): Promise<void> {
  await db
    .updateTable('customers')
    .set((eb) => ({ email_key: null, deleted_at: now, updated_at: now, version: eb('version', '+', 1) }))
    .where('id', '=', id)
    .execute()
  await deleteWords(db, CUSTOMER_WORDS, id)
}

/** Replaces the personal data of a customer that the transaction has locked, and deletes its words. */
export async function eraseCustomer(
  db: Database,
  { id, deleted_at }: CustomerRow,
  fields: PersonalFields,
  now: DbTime,
): Promise<void> {
  const email_key = deleted_at === null ? emailKey(fields.email) : null
  await db
    .updateTable('customers')
    .set((eb) => ({ ...fields, email_key, updated_at: now, version: eb('version', '+', 1) }))
    .where('id', '=', id)
    .execute()
  await deleteWords(db, CUSTOMER_WORDS, id)
}

export interface IdList {
  after: number | undefined
  limit: number
  /** The only customer that the caller may list. */
  only: number | undefined
}

/**
 * Reads the index of live customers: in the primary key, any number of deleted customers may lie between two live ones.
 */
export function listCustomers(db: Database, { after = 0, limit, only }: IdList): Promise<CustomerRow[]> {
  return db
    .selectFrom(sql<CustomerRow>`customers`.as<'c'>(sql`c ${dialectOf(db).forceIndex('customers_live')}`))
    .select(COLUMNS)
    .where('deleted_at', 'is', null)
    .where('id', '>', after)
    .$if(only !== undefined, (query) => query.where('id', '=', only ?? 0))
    .orderBy('id')
    .limit(limit)
    .execute()
}

export interface CustomerLookUp {
  email: string | undefined
  externalId: string | undefined
  /** The only customer that the caller may find. */
  only: number | undefined
}

/** The customer that has all of the given values, if there is one: each is unique. */
export function lookUpCustomer(db: Database, { email, externalId, only }: CustomerLookUp): Promise<CustomerRow[]> {
  return liveCustomers(db)
    .where((eb) =>
      eb.and([
        ...(email === undefined ? [] : [eb('email_key', '=', emailKey(email))]),
        ...(externalId === undefined ? [] : [eb('live_external_id', '=', externalId)]),
        ...(only === undefined ? [] : [eb('id', '=', only)]),
      ]),
    )
    .execute()
}

export function searchCustomers(db: Database, search: WordSearch) {
  return searchWords<CustomerRow>(db, CUSTOMER_WORDS, search)
}

function liveCustomers(db: Database) {
  return db.selectFrom('customers').select(COLUMNS).where('deleted_at', 'is', null)
}

function indexCustomer(db: Database, id: number, { name, email }: CustomerFields): Promise<void> {
  return insertWords(db, CUSTOMER_WORDS, id, tokenize(name, email))
}

function emailKey(email: string): string {
  return email.toLowerCase()
}
