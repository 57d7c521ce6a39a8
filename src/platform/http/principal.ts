import { sha256 } from '../core/crypto.ts'
import { PRINCIPAL_ID, type Trace } from '../telemetry/trace.ts'

/** The one who makes a request. `customerId` is set for a bound client, which must see no other customer. */
export interface Principal {
  id: string
  scopes: ReadonlySet<string>
  customerId: number | null
  /** The id of the caller that a service works for. Fair shares count that caller. */
  onBehalfOf?: string
}

/** Turns an `Authorization` header into a principal. Both methods throw AppError `unauthorized` or `invalid_token`. */
export interface Authenticator {
  /** Accepts a JWT or a service token. */
  caller(authorization: string | undefined, trace: Trace): Promise<Principal>
  /** Accepts only a service token, which alone opens `/internal/*`. */
  service(authorization: string | undefined): Principal
}

/** The id of another service. Its requests have no rate limit, because it limits its own callers. */
export const SERVICE_ID = 'service'

/** The id of a caller without a token, where requests without one are allowed. */
export const ANONYMOUS_ID = 'anonymous'

/** @param scopes the scopes that the service token has besides its access to `/internal/*` */
export function servicePrincipal(scopes: readonly string[]): Principal {
  return { id: SERVICE_ID, scopes: new Set(scopes), customerId: null }
}

/**
 * The principal, with the caller that it works for. Only a service may name that caller: other principals could use up
 * another caller's share.
 */
export function actFor(principal: Principal, callerId: string | undefined): Principal {
  if (principal.id !== SERVICE_ID || callerId === undefined || !PRINCIPAL_ID.test(callerId)) return principal
  return { ...principal, onBehalfOf: callerId }
}

/** The id of the caller that a request counts for. */
export function callerIdOf({ id, onBehalfOf = id }: Principal): string {
  return onBehalfOf
}

/** Whether a principal may see a customer and act for it. For a bound client other customers do not exist. */
export function mayActFor({ customerId }: Pick<Principal, 'customerId'>, id: number): boolean {
  return customerId === null || customerId === id
}

/**
 * The id of the principal with this subject. The issuer chooses subjects freely, so long or unusual ones are hashed. A
 * subject that looks like such a hash is hashed too, so that two subjects never share an id.
 */
export function principalId(subject: string): string {
  return /^(?!sha256:)[\w.:@|-]{1,100}$/.test(subject) ? `client:${subject}` : `client:sha256:${sha256(subject)}`
}

const BEARER = /^Bearer +([\w.~+/=-]+)$/i

/** The bearer token in an `Authorization` header; undefined when the header has another form. */
export function bearerTokenIn(authorization: string): string | undefined {
  const [, token] = BEARER.exec(authorization) ?? []
  return token
}
