import { findClients } from '../identity/store.ts'
import { derivedKeys } from '../orchestrator/keys.ts'
import { createOrderSupport, type OrderSupport } from '../orders/support.ts'
import type { Database } from '../platform/database/types.ts'
import { ANONYMOUS_ID, principalId } from '../platform/http/principal.ts'
import type { Env } from './env.ts'

/** Composes the search for orders, which covers Orders and the orchestrator. */
export function composeSupport({ idempotencyTtlMinutes }: Env, db: Database): OrderSupport {
  const principalsOf = async (client: string | undefined) => {
    if (client === ANONYMOUS_ID) return [ANONYMOUS_ID, principalId(client)]
    if (client !== undefined) return [principalId(client)]
    return [ANONYMOUS_ID, ...(await findClients(db)).map(({ id }) => principalId(id))]
  }
  return createOrderSupport(db, { idempotencyTtlMinutes, derivedKeys, principalsOf })
}
