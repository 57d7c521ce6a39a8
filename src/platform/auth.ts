import { sign, verify } from 'hono/jwt'
import { createRemoteJWKSet, errors as joseErrors, jwtVerify } from 'jose'
import { z } from 'zod'
import { AppError } from './errors.ts'
import { sameSecret, sha256 } from './hash.ts'

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
}

/** Turns an `Authorization` header into a principal, or throws `unauthorized` or `invalid_token`. */
export interface Authenticator {
  /** A JWT, or the service token with the rights on orders that the orchestrator needs. */
  caller(authorization: string | undefined): Promise<Principal>
  /** The service token alone: what opens `/internal/*`. */
  service(authorization: string | undefined): Principal
}

export interface AuthConfig {
  jwt: { secret: string; issuer: string; audience: string; jwksUrl: string | undefined }
  serviceTokens: readonly string[]
  /** Who calls when nobody says so; absent, such a call is refused. */
  anonymous?: Principal
}

/** What a token must say of its bearer. RFC 7519 names, RFC 8693 `scope`; `customer_id` is ours. */
const Claims = z.object({
  sub: z.string().min(1),
  exp: z.number(),
  scope: z.string().default(''),
  customer_id: z.int().positive().optional(),
})

/** Another service, on behalf of callers whose rate it has limited itself. */
export const SERVICE: Principal = {
  id: 'service',
  scopes: new Set<Scope>(['orders:read', 'orders:write']),
  customerId: null,
}

export function createAuthenticator(config: AuthConfig): Authenticator {
  const verifyToken =
    config.jwt.jwksUrl === undefined ? ownTokens(config.jwt) : providerTokens(config.jwt, config.jwt.jwksUrl)
  const verified = rememberVerified()
  const isServiceToken = (token: string) => config.serviceTokens.map((known) => sameSecret(known, token)).includes(true)
  return {
    async caller(authorization) {
      if (authorization === undefined && config.anonymous) return config.anonymous
      const token = bearer(authorization)
      const known = verified.get(token)
      if (known) return known
      if (isServiceToken(token)) return SERVICE
      const payload = await verifyToken(token)
      const claims = Claims.safeParse(payload)
      if (!claims.success) throw invalidToken()
      const { sub, scope, customer_id, exp } = claims.data
      const principal = { id: principalId(sub), scopes: new Set(scope.split(' ')), customerId: customer_id ?? null }
      verified.set(token, principal, exp)
      return principal
    },
    service(authorization) {
      if (!isServiceToken(bearer(authorization))) throw invalidToken()
      return SERVICE
    },
  }
}

const MOST_REMEMBERED = 1_000
const LONGEST_REMEMBERED_SECONDS = 60

/**
 * Who the tokens of the last minute were found to name, so that a caller's next request need not prove it again. A token
 * is forgotten when it expires, and after a minute in any case: then a key that was withdrawn counts.
 */
function rememberVerified() {
  const known = new Map<string, { principal: Principal; until: number }>()
  return {
    get(token: string): Principal | undefined {
      const found = known.get(token)
      if (found === undefined || Date.now() < found.until) return found?.principal
      known.delete(token)
      return undefined
    },
    set(token: string, principal: Principal, exp: number): void {
      const [oldest] = known.keys()
      if (known.size >= MOST_REMEMBERED && oldest !== undefined) known.delete(oldest)
      known.set(token, { principal, until: Math.min(exp * 1_000, Date.now() + LONGEST_REMEMBERED_SECONDS * 1_000) })
    },
  }
}

const OWN_ALGORITHM = 'HS256'

/** A token of our own: what {@link createAuthenticator} takes where no identity provider is set up. */
export function signClaims(claims: Record<string, unknown>, secret: string): Promise<string> {
  return sign(claims, secret, OWN_ALGORITHM)
}

type VerifyToken = (token: string) => Promise<unknown>

function ownTokens({ secret, issuer, audience }: AuthConfig['jwt']): VerifyToken {
  // `iat` decides nothing: the clock of the machine that issued the token may run a little ahead of ours.
  const options = { alg: OWN_ALGORITHM, iss: issuer, aud: audience, iat: false } as const
  return (token) =>
    verify(token, secret, options).catch(() => {
      throw invalidToken()
    })
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
