import { sha256 } from '../core/crypto.ts'
import { PRINCIPAL_ID, type Trace } from '../telemetry/trace.ts'

/** Who is calling. `customerId` is set for a client that is bound to one customer and must see no other. */
export interface Principal {
  id: string
  scopes: ReadonlySet<string>
  customerId: number | null
  /** The id of the caller that a service works for. Fair shares count that caller. */
  onBehalfOf?: string
}

/** Turns an `Authorization` header into a principal, or throws `unauthorized` or `invalid_token`. */
export interface Authenticator {
  /** A JWT, or the service token. */
  caller(authorization: string | undefined, trace: Trace): Promise<Principal>
  /** The service token alone: what opens `/internal/*`. */
  service(authorization: string | undefined): Principal
}

/** The id of another service, which calls on behalf of callers whose rate it has limited itself. */
export const SERVICE_ID = 'service'

/** The id of a caller without a token, where that is allowed. */
export const ANONYMOUS_ID = 'anonymous'

/** @param scopes what the service token may do besides `/internal/*` */
export function servicePrincipal(scopes: readonly string[]): Principal {
  return { id: SERVICE_ID, scopes: new Set(scopes), customerId: null }
}

/**
 * The principal, with the caller that it says it works for. Only the service is believed: any other caller could spend
 * somebody else's share.
 */
export function actFor(principal: Principal, callerId: string | undefined): Principal {
  if (principal.id !== SERVICE_ID || callerId === undefined || !PRINCIPAL_ID.test(callerId)) return principal
  return { ...principal, onBehalfOf: callerId }
}

/** The id of the caller that a request counts for. */
export function callerIdOf({ id, onBehalfOf = id }: Principal): string {
  return onBehalfOf
}

/** Whether a caller may know of a customer and act for it. To a client bound to one customer no other exists. */
export function mayActFor({ customerId }: Pick<Principal, 'customerId'>, id: number): boolean {
  return customerId === null || customerId === id
}

/**
 * Subjects come from the issuer of tokens: a long or unusual one is told apart by its hash, and one that looks like such
 * a hash is hashed itself.
 */
export function principalId(subject: string): string {
  return /^(?!sha256:)[\w.:@|-]{1,100}$/.test(subject) ? `client:${subject}` : `client:sha256:${sha256(subject)}`
}

const BEARER = /^Bearer +([\w.~+/=-]+)$/i

/** The bearer token in an `Authorization` header. */
export function bearerTokenIn(authorization: string): string | undefined {
  const [, token] = BEARER.exec(authorization) ?? []
  return token
}
