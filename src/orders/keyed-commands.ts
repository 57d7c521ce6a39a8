import { SetAside } from '../platform/batching/batcher.ts'
import { AppError } from '../platform/core/errors.ts'
import type { Database } from '../platform/database/types.ts'
import { type Claim, claimId } from '../platform/idempotency/claim.ts'
import {
  keyReused,
  type Preamble,
  replayOf,
  type StoredResponse,
  type StoredResponses,
  storeResponses,
} from '../platform/idempotency/store.ts'
import { claimsOf, namesOf, type OrderCommand } from './commands.ts'

export type Outcome = StoredResponse | AppError | SetAside

/** The commands of a batch, sorted by what is known about their keys. */
export interface KeyedCommands<C> {
  /** The commands to decide: those without a key, and the first command of each key. */
  firsts: C[]
  /** Commands whose key has a stored response. */
  answered: Map<C, StoredResponse | AppError>
  /** The later commands of a key, each with the first command of that key. */
  duplicates: Map<C, C>
}

export function sortByKey<C extends OrderCommand>(
  commands: readonly C[],
  responses: StoredResponses,
): KeyedCommands<C> {
  const sorted: KeyedCommands<C> = { firsts: [], answered: new Map(), duplicates: new Map() }
  const byKey = new Map<string, C>()
  for (const command of commands) {
    const { claim } = command
    const id = claim && claimId(claim)
    const [stored, first] = id === undefined ? [] : [responses.get(id), byKey.get(id)]
    if (claim && stored) sorted.answered.set(command, replayOf(claim, stored))
    else if (first) sorted.duplicates.set(command, first)
    else sorted.firsts.push(command)
    if (id !== undefined && !first) byKey.set(id, command)
  }
  return sorted
}

/** The outcome of every command, from the refusals and responses of `firsts`. */
export function outcomesOf<C extends OrderCommand>(
  { answered, duplicates }: KeyedCommands<C>,
  refused: ReadonlyMap<C, AppError>,
  responses: ReadonlyMap<C, StoredResponse>,
): Map<C, Outcome> {
  const outcomes = new Map<C, Outcome>(answered)
  for (const [command, refusal] of refused) outcomes.set(command, refusal)
  for (const [command, response] of responses) outcomes.set(command, response)
  for (const [command, first] of duplicates) {
    const outcome = responses.get(first) ?? refused.get(first)
    if (outcome) outcomes.set(command, outcomeOfDuplicate(command, first, outcome))
  }
  return outcomes
}

/** A refusal leaves the key free, so a different request with that key is set aside: a later run decides it. */
function outcomeOfDuplicate<C extends OrderCommand>(command: C, first: C, outcome: StoredResponse | AppError): Outcome {
  const isSameRequest = command.claim?.requestHash === first.claim?.requestHash
  if (outcome instanceof AppError) {
    return isSameRequest
      ? outcome
      : new SetAside(namesOf({ orders: [], products: [], customers: [], poNumbers: [], claims: claimsOf(command) }))
  }
  return isSameRequest ? { ...outcome, replayed: true } : keyReused()
}

export interface Decided<C, D> {
  accepted: Map<C, D>
  refused: Map<C, AppError>
}

/** Separates accepted commands from refused ones. `decisions[i]` belongs to `commands[i]`. */
export function sortByDecision<C, D>(
  commands: readonly C[],
  decisions: readonly (D | AppError | undefined)[],
): Decided<C, D> {
  const sorted: Decided<C, D> = { accepted: new Map(), refused: new Map() }
  for (const [i, command] of commands.entries()) {
    const decision = decisions[i]
    if (decision instanceof AppError) sorted.refused.set(command, decision)
    else if (decision !== undefined) sorted.accepted.set(command, decision)
  }
  return sorted
}

export function claimsIn<C extends OrderCommand>(commands: ReadonlyMap<C, unknown>): Claim[] {
  return [...commands.keys()].flatMap(claimsOf)
}

/** Stores the responses to commands with a key, with the transaction's next statement. */
export async function storeOutcomes<C extends OrderCommand>(
  trx: Database,
  responses: ReadonlyMap<C, StoredResponse>,
  preamble: Preamble,
  ttlMinutes: number,
): Promise<void> {
  const records = [...responses].flatMap(([command, response]) =>
    claimsOf(command).map((claim) => ({ claim, response })),
  )
  await storeResponses(trx, records, { ...preamble, ttlMinutes })
}
