import { SetAside } from '../platform/batching/batcher.ts'
import { AppError } from '../platform/core/errors.ts'
import type { Database } from '../platform/database/database.ts'
import {
  type Answer,
  type Answers,
  type Claim,
  claimId,
  keyReused,
  type Opening,
  replayOf,
  saveAnswers,
} from '../platform/idempotency/idempotency.ts'
import { claimsOf, namesOf, type OrderCommand } from './commands.ts'

export type Outcome = Answer | AppError | SetAside

/** The commands of a batch, by what is known of their keys. */
export interface KeyedCommands<C> {
  /** To be decided: those without a key, and the first of each key. */
  firsts: C[]
  /** What was answered before. */
  answered: Map<C, Answer | AppError>
  /** Each with the one of `firsts` that has the same key. */
  duplicates: Map<C, C>
}

export function sortByKey<C extends OrderCommand>(commands: readonly C[], answers: Answers): KeyedCommands<C> {
  const sorted: KeyedCommands<C> = { firsts: [], answered: new Map(), duplicates: new Map() }
  const byKey = new Map<string, C>()
  for (const command of commands) {
    const { claim } = command
    const id = claim && claimId(claim)
    const [stored, first] = id === undefined ? [] : [answers.get(id), byKey.get(id)]
    if (claim && stored) sorted.answered.set(command, replayOf(claim, stored))
    else if (first) sorted.duplicates.set(command, first)
    else sorted.firsts.push(command)
    if (id !== undefined && !first) byKey.set(id, command)
  }
  return sorted
}

/** The outcome of every command, from the refusals and answers of `firsts`. */
export function outcomesOf<C extends OrderCommand>(
  { answered, duplicates }: KeyedCommands<C>,
  refused: ReadonlyMap<C, AppError>,
  answers: ReadonlyMap<C, Answer>,
): Map<C, Outcome> {
  const outcomes = new Map<C, Outcome>(answered)
  for (const [command, refusal] of refused) outcomes.set(command, refusal)
  for (const [command, answer] of answers) outcomes.set(command, answer)
  for (const [command, first] of duplicates) {
    const outcome = answers.get(first) ?? refused.get(first)
    if (outcome) outcomes.set(command, outcomeOfDuplicate(command, first, outcome))
  }
  return outcomes
}

/** A refusal leaves the key free: another request with it is decided by a later run. */
function outcomeOfDuplicate<C extends OrderCommand>(command: C, first: C, outcome: Answer | AppError): Outcome {
  const isSameRequest = command.claim?.requestHash === first.claim?.requestHash
  if (outcome instanceof AppError) {
    return isSameRequest
      ? outcome
      : new SetAside(namesOf({ orders: [], products: [], customers: [], claims: claimsOf(command) }))
  }
  return isSameRequest ? { ...outcome, replayed: true } : keyReused()
}

export interface Decided<C, D> {
  accepted: Map<C, D>
  refused: Map<C, AppError>
}

/** Commands and what was decided about each, in their order. */
export function sortByDecision<C, D>(commands: readonly C[], decisions: readonly (D | AppError)[]): Decided<C, D> {
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

/** Writes the answers of the commands that have a key, with the transaction's next statement. */
export async function storeAnswers<C extends OrderCommand>(
  trx: Database,
  answers: ReadonlyMap<C, Answer>,
  opening: Opening,
  ttlMinutes: number,
): Promise<void> {
  const records = [...answers].flatMap(([command, answer]) => claimsOf(command).map((claim) => ({ claim, answer })))
  await saveAnswers(trx, records, { ...opening, ttlMinutes })
}
