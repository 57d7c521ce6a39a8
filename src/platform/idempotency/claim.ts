import { sha256 } from '../core/crypto.ts'
import type { Principal } from '../http/principal.ts'

/** What can be done with a key. */
export interface Operation {
  name: string
  /** The HTTP status of the one response that is ever stored for a key. */
  status: number
  targetType: string
  /** Whose a stored body is, for operations of bound clients; absent or undefined: nobody's in particular. */
  ownerOf?(body: string): number | undefined
}

/** One caller's right to do one thing once. */
export interface Claim {
  operation: Operation
  key: string
  principal: string
  /** For a bound client: its principal alone, and whom it is bound to. */
  bound?: { principal: string; owner: number }
  /** SHA-256 of the request: tells another request under the same key apart. */
  requestHash: string
}

/**
 * @param key the caller's key. A request without one gets a key of its own, so that a retry after a lost commit finds what
 *   was done instead of doing it twice
 * @param request the whole validated input, with a fixed order of members: its JSON is hashed
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
 * Whom a key belongs to. For a bound client that includes whom it is bound to: a token of the same subject with another
 * binding has its own keys. No principal id has a `#`.
 */
function claimantOf({ id, customerId }: Principal): Pick<Claim, 'principal' | 'bound'> {
  if (customerId === null) return { principal: id }
  return { principal: `${id}#${customerId}`, bound: { principal: id, owner: customerId } }
}

/** Identifies a claim among others. */
export function claimId({ operation, key, principal }: Claim): string {
  return idOf(operation.name, key, principal)
}

/** The id of a claim by its parts. */
export function idOf(operation: string, key: string, principal: string): string {
  return `${operation} ${key} ${principal}`
}

/** The id under which the response of a bound client's claim may be stored: see {@link storedPrincipals}. */
export function unboundId({ operation, key }: Claim, { principal }: { principal: string }): string {
  return idOf(operation.name, key, principal)
}

/**
 * The principals under which the responses to these claims are stored. A bound client's is stored under the client alone,
 * as in every version before: two versions that run side by side must meet in one row. Where that row is another owner's,
 * the owner is part of the principal.
 * @param taken ids of the responses that are stored
 */
export function storedPrincipals(claims: readonly Claim[], taken: Iterable<string>): string[] {
  const used = new Set([...taken, ...claims.map(claimId)])
  return claims.map((claim) => {
    const id = claim.bound && unboundId(claim, claim.bound)
    if (claim.bound === undefined || id === undefined || used.has(id)) return claim.principal
    used.add(id)
    return claim.bound.principal
  })
}
