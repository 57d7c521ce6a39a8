import type { DbTime } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'
import { transactAlone } from '../platform/database/transaction.ts'
import type { Database } from '../platform/database/types.ts'
import { openIfPossible, type SecretBox } from './secret-box.ts'
import { type EndpointNotes, type EndpointRow, findOutdatedSecrets, lockEndpoint, noteOnEndpoint } from './store.ts'

const PAGE_SIZE = 100

/**
 * Seals the secrets anew that another key than the first of WEBHOOK_KEYS sealed, so that the other key may be removed, and
 * deletes old secrets that sign no more. Any number of machines may do it.
 * @returns the number of endpoints with such secrets; nothing where there are none
 */
export async function sweepSecrets(db: Database, secrets: SecretBox | undefined): Promise<{ secrets?: number }> {
  if (secrets === undefined) return {}
  let [renewed, last] = [0, 0]
  for (let isFull = true; isFull; ) {
    const ids = await findOutdatedSecrets(db, secrets.prefix, last, PAGE_SIZE)
    for (const id of ids) if (await renewSecrets(db, id, secrets)) renewed++
    last = ids.at(-1) ?? last
    isFull = ids.length === PAGE_SIZE
  }
  return renewed === 0 ? {} : { secrets: renewed }
}

/** @returns false when there was nothing to do, or a key is missing: the dispatcher then logs the fault */
function renewSecrets(db: Database, id: number, secrets: SecretBox): Promise<boolean> {
  return transactAlone(db, async (trx) => {
    const endpoint = await lockEndpoint(trx, id)
    const notes = endpoint && notesOn(endpoint, secrets, await readClock(trx))
    if (notes === undefined || Object.keys(notes).length === 0) return false
    await noteOnEndpoint(trx, id, notes)
    return true
  })
}

function notesOn({ id, secret, old_secret, old_secret_until }: EndpointRow, secrets: SecretBox, now: DbTime) {
  const isOver = old_secret_until !== null && old_secret_until <= now
  const renewed = renew(secret, id, secrets)
  const old = isOver ? null : renew(old_secret, id, secrets)
  const notes: EndpointNotes = {
    ...(renewed && { secret: renewed }),
    ...(old && { old_secret: old }),
    ...(isOver && { old_secret: null, old_secret_until: null }),
  }
  return notes
}

/** @returns undefined when the first key sealed it, or its key is missing */
function renew(sealed: string | null, id: number, secrets: SecretBox): string | undefined {
  const secret = sealed === null || secrets.isCurrent(sealed) ? undefined : openIfPossible(secrets, sealed, id)
  return secret && secrets.seal(secret, id)
}
