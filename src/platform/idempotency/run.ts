import { AppError } from '../core/errors.ts'
import type { DbTime } from '../core/time.ts'
import { RestartTransaction, transactAlone } from '../database/transaction.ts'
import type { Database } from '../database/types.ts'
import type { Trace } from '../telemetry/trace.ts'
import { type Claim, claimId } from './claim.ts'
import { readPreamble, replayOf, type StoredResponse, storeResponses } from './store.ts'

/**
 * Does a piece of work at most once for its claim, in one transaction with the record of its response.
 * For verbs that are called too seldom to be batched. Of an operation with status 204 only the `id` is kept.
 * @param trace shows the transaction
 * @throws AppError `idempotency_key_reused`, and whatever the work throws; a refusal is not stored
 */
export function runIdempotent<T extends { id: number }>(
  db: Database,
  claim: Claim,
  ttlMinutes: number,
  { span }: Trace,
  work: (trx: Database, now: DbTime) => Promise<T>,
): Promise<StoredResponse> {
  const runOnce = async (trx: Database) => {
    const { now, responses } = await readPreamble(trx, [claim])
    const first = responses.get(claimId(claim))
    if (first) {
      const replay = replayOf(claim, first)
      if (replay instanceof AppError) throw replay
      return replay
    }
    const result = await work(trx, now).catch(async (refusal) => {
      if (refusal instanceof AppError) await restartIfAlreadyAnswered(trx, [claim])
      throw refusal
    })
    const { status } = claim.operation
    const body = status === 204 ? '' : JSON.stringify(result)
    const response = { targetId: result.id, status, body, replayed: false }
    await storeResponses(trx, [{ claim, response }], { now, responses, ttlMinutes })
    return response
  }
  return transactAlone(db, runOnce, span)
}

/**
 * Starts the transaction again when one of these claims, about to be refused, has a response by now: what it would be
 * refused for is then the work of its own duplicate, committed after this transaction began.
 * @throws RestartTransaction
 */
export async function restartIfAlreadyAnswered(db: Database, refused: readonly Claim[]): Promise<void> {
  if (refused.length === 0) return
  const { responses } = await readPreamble(db, refused)
  if (refused.some((claim) => responses.has(claimId(claim)))) throw new RestartTransaction()
}

/**
 * The stored response to a claim, for work that fails before its transaction: a replay must succeed even then.
 * @throws AppError `idempotency_key_reused`, and `otherwise` when nothing is stored
 */
export async function replayOrThrow(db: Database, claim: Claim, otherwise: unknown): Promise<StoredResponse> {
  const { responses } = await readPreamble(db, [claim])
  const stored = responses.get(claimId(claim))
  const replay = stored && replayOf(claim, stored)
  if (replay === undefined) throw otherwise
  if (replay instanceof AppError) throw replay
  return replay
}
