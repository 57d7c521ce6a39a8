import { sign, verify } from 'hono/jwt'
import { createRemoteJWKSet, errors as joseErrors, jwtVerify } from 'jose'
import { z } from 'zod'
import { AppError } from './errors.ts'
import { sameSecret, sha256 } from './hash.ts'
import { PRINCIPAL_ID, type Trace } from './trace.ts'

export const SCOPES = [
  'customers:read',
  'customers:write',
  'products:read',
  'products:write',
  'orders:read',
  'orders:write',
] as const

export type Scope = (typeof SCOPES)[number]

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
  /** A JWT, or the service token with the rights on orders that the orchestrator needs. */
  caller(authorization: string | undefined, trace: Trace): Promise<Principal>
  /** The service token alone: what opens `/internal/*`. */
  service(authorization: string | undefined): Principal
}

export interface AuthConfig {
  jwt: {
    /** What tokens are signed with. */
    secret: string
    /** Tokens signed with it are taken too, while one secret takes the other's place. */
    otherSecret?: string | undefined
    issuer: string
    audience: string
    jwksUrl: string | undefined
  }
  serviceTokens: readonly string[]
  /**
   * Asked of the client that a token of our own names. Absent, every token is good that is signed: an identity provider
   * withdraws its own.
   */
  findClient?: FindClient | undefined
  /** Whether a token is taken whose client nobody knows: outside production they are signed without asking. */
  takesUnknownClients?: boolean
  /** Who calls when nobody says so; absent, such a call is refused. */
  anonymous?: Principal
}

/** What is to be known of a client whose token is shown. */
export interface ClientStanding {
  disabled: boolean
  /** Tokens issued before it are not taken. In ms since 1970; null when all are. */
  tokensFrom: number | null
}

/** How a client stands; undefined when there is none of this id. */
export type FindClient = (id: string, trace: Trace) => Promise<ClientStanding | undefined>

/** What a token must say of its bearer. RFC 7519 names, RFC 8693 `scope`; `customer_id` is ours. */
const Claims = z.object({
  sub: z.string().min(1),
  exp: z.number(),
  iat: z.number().optional(),
  scope: z.string().default(''),
  customer_id: z.int().positive().optional(),
})

/** Another service, on behalf of callers whose rate it has limited itself. */
export const SERVICE: Principal = {
  id: 'service',
  scopes: new Set<Scope>(['orders:read', 'orders:write']),
  customerId: null,
}

/**
 * The principal, with the caller that it says it works for. Only the service is believed: anybody else could spend
 * another caller's share.
 */
export function actFor(principal: Principal, callerId: string | undefined): Principal {
  if (principal.id !== SERVICE.id || callerId === undefined || !PRINCIPAL_ID.test(callerId)) return principal
  return { ...principal, onBehalfOf: callerId }
}

/** The id of the caller that a request counts for. */
export function callerIdOf({ id, onBehalfOf = id }: Principal): string {
  return onBehalfOf
}

/** @param now the time, in ms since 1970 */
export function createAuthenticator(config: AuthConfig, now = () => Date.now()): Authenticator {
  const { jwksUrl } = config.jwt
  const verifyToken = jwksUrl === undefined ? ownTokens(config.jwt) : providerTokens(config.jwt, jwksUrl)
  const isGoodClient = jwksUrl === undefined ? asking(config) : async () => true
  const verified = rememberVerified(now)
  const isServiceToken = (token: string) => config.serviceTokens.map((known) => sameSecret(known, token)).includes(true)
  return {
    async caller(authorization, trace) {
      if (authorization === undefined && config.anonymous) return config.anonymous
      const token = bearer(authorization)
      const known = verified.get(token)
      if (known) return known
      if (isServiceToken(token)) return SERVICE
      return verified.join(token, () => prove(token, trace))
    },
    service(authorization) {
      if (!isServiceToken(bearer(authorization))) throw invalidToken()
      return SERVICE
    },
  }

  async function prove(token: string, trace: Trace): Promise<Proven> {
    const payload = await verifyToken(token)
    const claims = Claims.safeParse(payload)
    if (!claims.success || !(await isGoodClient(claims.data, trace))) throw invalidToken()
    const { sub, scope, customer_id, exp } = claims.data
    return {
      principal: { id: principalId(sub), scopes: new Set(scope.split(' ')), customerId: customer_id ?? null },
      exp,
    }
  }
}

/** Whether the client is one whose tokens are taken, and this one was not withdrawn. */
function asking({ findClient, takesUnknownClients = false }: AuthConfig) {
  return async ({ sub, iat }: z.output<typeof Claims>, trace: Trace): Promise<boolean> => {
    if (findClient === undefined) return true
    const client = await findClient(sub, trace)
    if (client === undefined) return takesUnknownClients
    if (client.disabled) return false
    return client.tokensFrom === null || (iat !== undefined && Math.round(iat * 1_000) >= client.tokensFrom)
  }
}

const MOST_REMEMBERED = 1_000
const LONGEST_REMEMBERED_SECONDS = 60

interface Proven {
  principal: Principal
  /** When the token expires, in seconds since 1970. */
  exp: number
}

/**
 * Who the tokens of the last minute were found to name, so that a caller's next request need not prove it again. A token
 * is forgotten when it expires, and after a minute in any case: then a key, a client, a token that was withdrawn counts.
 */
function rememberVerified(now: () => number) {
  const known = new Map<string, { principal: Principal; until: number }>()
  const underWay = new Map<string, Promise<Principal>>()

  function set(token: string, { principal, exp }: Proven, asked: number): Principal {
    const [oldest] = known.keys()
    if (known.size >= MOST_REMEMBERED && oldest !== undefined) known.delete(oldest)
    known.set(token, { principal, until: Math.min(exp * 1_000, asked + LONGEST_REMEMBERED_SECONDS * 1_000) })
    return principal
  }

  return {
    get(token: string): Principal | undefined {
      const found = known.get(token)
      if (found === undefined || now() < found.until) return found?.principal
      known.delete(token)
      return undefined
    },
    /** Requests that show one token at one time share one proof. */
    join(token: string, prove: () => Promise<Proven>): Promise<Principal> {
      const shared = underWay.get(token)
      if (shared) return shared
      const asked = now()
      const proof = prove()
        .then((proven) => set(token, proven, asked))
        .finally(() => underWay.delete(token))
      underWay.set(token, proof)
      return proof
    },
  }
}

const OWN_ALGORITHM = 'HS256'

/** A token of our own: what {@link createAuthenticator} takes where no identity provider is set up. */
export function signClaims(claims: Record<string, unknown>, secret: string): Promise<string> {
  return sign(claims, secret, OWN_ALGORITHM)
}

type VerifyToken = (token: string) => Promise<unknown>

function ownTokens({ secret, otherSecret, issuer, audience }: AuthConfig['jwt']): VerifyToken {
  // `iat` decides nothing here: the clock of the machine that issued the token may run a little ahead of ours.
  const options = { alg: OWN_ALGORITHM, iss: issuer, aud: audience, iat: false } as const
  const secrets = otherSecret === undefined ? [secret] : [secret, otherSecret]
  return async (token) => {
    for (const known of secrets) {
      const payload = await verify(token, known, options).catch(() => undefined)
      if (payload !== undefined) return payload
    }
    throw invalidToken()
  }
}

function providerTokens({ issuer, audience }: AuthConfig['jwt'], jwksUrl: string): VerifyToken {
  // Keeps the provider's keys, and asks for them again when a token names one it has not seen.
  const keys = createRemoteJWKSet(new URL(jwksUrl))
  const options = { issuer, audience, algorithms: ['RS256', 'ES256', 'EdDSA'], requiredClaims: ['exp', 'sub'] }
  return async (token) => {
    try {
      return (await jwtVerify(token, keys, options)).payload
    } catch (error) {
      if (isFaultOfToken(error)) throw invalidToken()
      throw new AppError('unavailable', 'The identity provider cannot be reached. Try again.', {}, { cause: error })
    }
  }
}

/** And not of the provider, or of the way to it: then the same token may be good a moment later. */
function isFaultOfToken(error: unknown): boolean {
  if (!(error instanceof joseErrors.JOSEError)) return false
  return !['ERR_JOSE_GENERIC', 'ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID'].includes(error.code)
}

function bearer(authorization: string | undefined): string {
  if (authorization === undefined)
    throw new AppError('unauthorized', 'Send a bearer token in the Authorization header.')
  const [, token] = /^Bearer +([\w.~+/=-]+)$/i.exec(authorization) ?? []
  if (token === undefined) throw invalidToken()
  return token
}

function invalidToken(): AppError {
  return new AppError('invalid_token', 'The token is malformed, expired, or not meant for this service.')
}

/** Subjects come from whoever issues tokens: long or unusual ones are told apart by their hash. */
function principalId(subject: string): string {
  return /^[\w.:@|-]{1,100}$/.test(subject) ? `client:${subject}` : `client:sha256:${sha256(subject)}`
}
