import type { z } from 'zod'
import { IDENTITY_ERRORS } from '../identity/errors.ts'
import { createLoader } from '../platform/batching/loader.ts'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { toRfc3339 } from '../platform/core/time.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { isDuplicate } from '../platform/database/errors.ts'
import type { Database } from '../platform/database/types.ts'
import { originOf, recordEvents } from '../platform/events/record.ts'
import { rewriteEvents } from '../platform/events/rewrite.ts'
import type { Caller } from '../platform/http/app.ts'
import { type Preconditions, requireVersion } from '../platform/http/etag.ts'
import { type Page, type PageRequest, searchablePage } from '../platform/http/pagination.ts'
import { mayActFor } from '../platform/http/principal.ts'
import { claimOf, type Operation } from '../platform/idempotency/claim.ts'
import { rewriteResponses, rewriteResponsesStartingWith } from '../platform/idempotency/rewrite.ts'
import { runIdempotent } from '../platform/idempotency/run.ts'
import type { StoredResponse } from '../platform/idempotency/store.ts'
import type { CustomerReplacement, Customer as CustomerSchema, NewCustomer } from './contract.ts'
import { CUSTOMER_ERRORS } from './errors.ts'
import { customerCreated, customerDeleted, customerErased, customerUpdated } from './events.ts'
import {
  type CustomerFields,
  type CustomerRow,
  EMAIL_INDEX,
  EXTERNAL_ID_INDEX,
  eraseCustomer,
  findCustomer,
  findCustomers,
  insertCustomer,
  listCustomers,
  lockCustomer,
  lockCustomerInternal,
  lookUpCustomer,
  type PersonalFields,
  searchCustomers,
  softDeleteCustomer,
  updateCustomer,
} from './store.ts'

export type Customer = z.output<typeof CustomerSchema>

const CREATE_CUSTOMER: Operation = { name: 'customers.create', status: 201, targetType: 'customer' }
const REPLACE_CUSTOMER: Operation = { name: 'customers.replace', status: 200, targetType: 'customer' }
const DELETE_CUSTOMER: Operation = { name: 'customers.delete', status: 204, targetType: 'customer' }
const ERASE_CUSTOMER: Operation = { name: 'customers.erase', status: 204, targetType: 'customer' }

const MAX_READS_AT_ONCE = 500

export interface CustomersConfig {
  idempotencyTtlMinutes: number
}

export type CustomersService = ReturnType<typeof createCustomersService>

/**
 * Erases the personal data that another domain keeps of a customer. It runs again when an erasure is replayed, so it must
 * be safe to repeat.
 */
export type Eraser = (customerId: number) => Promise<void>

/** What a list of customers may be asked for. A look-up is combined with neither search nor cursor. */
export interface CustomersRequest extends PageRequest {
  email?: string | undefined
  external_id?: string | undefined
}

/**
 * The verbs of customers. A bound client sees only its own customer.
 * @param erasers what else is erased with a customer, in the domains that this one does not know
 */
export function createCustomersService(db: Database, config: CustomersConfig, erasers: readonly Eraser[] = []) {
  /** Customers that are asked for at the same moment are read together. */
  const getCustomerInternal = createLoader<number, Customer>(async (ids) => {
    const rows = await findCustomers(db, [...new Set(ids)])
    const customers = new Map(rows.map((row) => [row.id, presentCustomer(row)]))
    return ids.map((id) => customers.get(id) ?? customerNotFound(id))
  }, MAX_READS_AT_ONCE)

  return {
    /** @throws AppError `bound_client`, `email_taken`, `external_id_taken`, `idempotency_key_reused` */
    createCustomer(
      caller: Caller,
      input: z.output<typeof NewCustomer>,
      key: string | undefined,
    ): Promise<StoredResponse> {
      forbidBoundClient(caller)
      const fields = newFields(input)
      const claim = claimOf(CREATE_CUSTOMER, caller.principal, key, requestOf(input))
      return runIdempotent(db, claim, config.idempotencyTtlMinutes, caller.trace, async (trx, now) => {
        const id = await refuseTaken(insertCustomer(trx, fields, now))
        const customer = presentCustomer({ ...fields, id, version: 1, created_at: now, updated_at: now })
        await recordEvents(trx, [customerCreated(customer, originOf(caller))], now)
        return customer
      })
    },

    /** @throws AppError `not_found` */
    async getCustomer(caller: Caller, id: number): Promise<Customer> {
      if (!mayActFor(caller.principal, id)) throw customerNotFound(id)
      return presentCustomer(found(await findCustomer(db, id), id))
    },

    /** For other services, which may read every customer. @throws AppError `not_found` */
    getCustomerInternal,

    /** @throws AppError `validation_failed` for a cursor of another list */
    async listCustomers(
      caller: Caller,
      { email, external_id: externalId, ...request }: CustomersRequest,
    ): Promise<Page<Customer>> {
      const only = caller.principal.customerId ?? undefined
      if (email !== undefined || externalId !== undefined) {
        const rows = await lookUpCustomer(db, { email, externalId, only })
        return { data: rows.map(presentCustomer), next_cursor: null }
      }
      const page = await searchablePage(
        'customers',
        request,
        (after, limit) => listCustomers(db, { after, limit, only }),
        (beginnings, after, limit) => searchCustomers(db, { beginnings, after, limit, only }),
      )
      return { ...page, data: page.data.map(presentCustomer) }
    },

    /**
     * @throws AppError `bound_client`, `not_found`, `precondition_failed`, `email_taken`, `external_id_taken`,
     *   `idempotency_key_reused`
     */
    replaceCustomer(
      caller: Caller,
      id: number,
      input: z.output<typeof CustomerReplacement>,
      key: string | undefined,
      preconditions: Preconditions,
    ): Promise<StoredResponse> {
      forbidBoundClient(caller, id)
      const claim = claimOf(REPLACE_CUSTOMER, caller.principal, key, id, requestOf(input))
      return runIdempotent(db, claim, config.idempotencyTtlMinutes, caller.trace, async (trx, now) => {
        const before = await lockAtVersion(trx, id, preconditions)
        const fields = replacedFields(before, input)
        await refuseTaken(updateCustomer(trx, id, fields, now))
        const customer = presentCustomer({ ...before, ...fields, updated_at: now, version: before.version + 1 })
        await recordEvents(trx, [customerUpdated(presentCustomer(before), customer, originOf(caller))], now)
        return customer
      })
    },

    /** @throws AppError `bound_client`, `not_found`, `precondition_failed`, `idempotency_key_reused` */
    deleteCustomer(
      caller: Caller,
      id: number,
      key: string | undefined,
      preconditions: Preconditions,
    ): Promise<StoredResponse> {
      forbidBoundClient(caller, id)
      const claim = claimOf(DELETE_CUSTOMER, caller.principal, key, id)
      return runIdempotent(db, claim, config.idempotencyTtlMinutes, caller.trace, async (trx, now) => {
        const before = await lockAtVersion(trx, id, preconditions)
        await softDeleteCustomer(trx, id, now)
        const deleted = presentCustomer({ ...before, updated_at: now, version: before.version + 1 })
        await recordEvents(trx, [customerDeleted(deleted, originOf(caller))], now)
        return { id }
      })
    },

    /**
     * Erases a customer's personal data, also from a deleted customer. Stored responses of orders are rewritten after
     * the customer: an order placed at this moment may keep the data in its stored response until its key expires. So
     * is what the erasers erase.
     * @throws AppError `bound_client`, `not_found`, `idempotency_key_reused`
     */
    async eraseCustomer(caller: Caller, id: number, key: string | undefined): Promise<StoredResponse> {
      forbidBoundClient(caller, id)
      const claim = claimOf(ERASE_CUSTOMER, caller.principal, key, id)
      const response = await runIdempotent(db, claim, config.idempotencyTtlMinutes, caller.trace, async (trx, now) => {
        const customer = found(await lockCustomerInternal(trx, id), id)
        await rewriteEvents(trx, 'customer', [id], (data) => erasedEvent(id, data))
        if (!isErased(customer)) {
          await eraseCustomer(trx, customer, erasedFields(id), now)
          const erased = { ...customer, ...erasedFields(id), updated_at: now, version: customer.version + 1 }
          await recordEvents(trx, [customerErased(presentCustomer(erased), originOf(caller))], now)
        }
        await rewriteResponses(trx, [CREATE_CUSTOMER, REPLACE_CUSTOMER], id, (body) => erasedBody(id, body))
        return { id }
      })
      // A replay does this too: the first request may have stopped after its transaction.
      await rewriteResponsesStartingWith(db, `{"customer":{"id":${id},`, (body) => erasedBrief(id, body))
      for (const erase of erasers) await erase(id)
      return response
    },
  }
}

function presentCustomer({
  id,
  name,
  email,
  phone,
  external_id,
  po_policy,
  created_at,
  updated_at,
  version,
}: Omit<CustomerRow, 'deleted_at'>): Customer {
  const times = { created_at: toRfc3339(created_at), updated_at: toRfc3339(updated_at) }
  return { id, name, email, phone, external_id, po_policy, ...times, version }
}

/** The values that replace personal data. No caller can have this e-mail: its domain has only one part. */
function erasedBriefFields(id: number): Omit<PersonalFields, 'external_id'> {
  return { name: 'Erased customer', email: `erased-${id}@invalid`, phone: null }
}

function erasedFields(id: number): PersonalFields {
  return { ...erasedBriefFields(id), external_id: null }
}

function isErased({ id, name, email, phone, external_id }: CustomerRow): boolean {
  const erased = erasedFields(id)
  const isBriefErased = name === erased.name && email === erased.email && phone === erased.phone
  return isBriefErased && external_id === null
}

/** A stored response without its personal data. Its times and version stay, and so does the shape of an earlier version. */
function erasedBody(id: number, body: string): string {
  const stored = unsafeCast<Partial<Customer>>(JSON.parse(body))
  const erased = 'external_id' in stored ? erasedFields(id) : erasedBriefFields(id)
  return JSON.stringify({ ...stored, ...erased })
}

/** What an event tells of a customer, without personal data, and without the old values of what changed. */
function erasedEvent(id: number, data: string): string {
  const { customer, previous: _, ...rest } = unsafeCast<{ customer: object; previous?: object }>(JSON.parse(data))
  return JSON.stringify({ customer: { ...customer, ...erasedFields(id) }, ...rest })
}

/** A stored response to the orchestrator without personal data. Such a response begins with its customer. */
function erasedBrief(id: number, body: string): string {
  return JSON.stringify({ ...unsafeCast<object>(JSON.parse(body)), customer: { id, ...erasedBriefFields(id) } })
}

/**
 * The part of a request that is hashed: the whole body. An absent phone is hashed as null, and other absent fields are
 * left out, as in the first version, so that stored hashes still match.
 */
function requestOf({ name, email, phone, ...rest }: z.output<typeof CustomerReplacement>): unknown {
  return { name, email, phone: phone ?? null, ...rest }
}

function newFields(input: z.output<typeof NewCustomer>): CustomerFields {
  return replacedFields({ external_id: null, po_policy: 'unique' }, input)
}

/** An external id or a policy that is not sent stays; the empty text removes the external id. */
function replacedFields(
  before: Pick<CustomerFields, 'external_id' | 'po_policy'>,
  { name, email, phone, external_id, po_policy }: z.output<typeof CustomerReplacement>,
): CustomerFields {
  return {
    name,
    email,
    phone: phone ?? null,
    external_id: (external_id ?? before.external_id) || null,
    po_policy: po_policy ?? before.po_policy,
  }
}

/** A bound client may read its customer, but change none. Other customers do not exist for it. */
function forbidBoundClient({ principal }: Caller, id?: number): void {
  if (id !== undefined && !mayActFor(principal, id)) throw customerNotFound(id)
  if (principal.customerId !== null) {
    throw new AppError(IDENTITY_ERRORS.bound_client, 'A client bound to a customer may not change customers.')
  }
}

function found(row: CustomerRow | undefined, id: number): CustomerRow {
  if (row === undefined) throw customerNotFound(id)
  return row
}

function customerNotFound(id: number): AppError {
  return new AppError(PLATFORM_ERRORS.not_found, `There is no customer ${id}.`)
}

async function lockAtVersion(trx: Database, id: number, preconditions: Preconditions): Promise<CustomerRow> {
  const row = found(await lockCustomer(trx, id), id)
  requireVersion(preconditions, row, 'customer')
  return row
}

/** Where both are taken, the refusal names the one that the database found first. */
async function refuseTaken<T>(write: Promise<T>): Promise<T> {
  return write.catch((error) => {
    if (isDuplicate(error, EMAIL_INDEX))
      throw new AppError(CUSTOMER_ERRORS.email_taken, 'Another customer has this e-mail address.')
    if (isDuplicate(error, EXTERNAL_ID_INDEX))
      throw new AppError(CUSTOMER_ERRORS.external_id_taken, 'Another customer has this external id.')
    throw error
  })
}
