import { sign } from 'hono/jwt'
import { type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { z } from 'zod'
import { sameSecret } from '../platform/core/crypto.ts'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import {
  type Authenticator,
  bearerTokenIn,
  type Principal,
  principalId,
  servicePrincipal,
} from '../platform/http/principal.ts'
import type { Trace } from '../platform/telemetry/trace.ts'
import { createRemoteKeys } from './jwks.ts'

export interface AuthConfig {
  jwt: {
    /** Signs tokens. */
    secret: string
    /** Tokens signed with this secret are accepted too, while one secret replaces the other. */
    otherSecret?: string | undefined
    issuer: string
    audience: string
    jwksUrl: string | undefined
    /** With `jwksUrl`: the audiences that the provider's tokens may name. Default: only `audience`. */
    audiences?: readonly string[]
    /** With `jwksUrl`: the claims that the provider's tokens use. Default: those of tokens issued here. */
    claims?: ClaimNames
  }
  serviceTokens: readonly string[]
  /** The scopes of service tokens, besides their access to `/internal/*`. */
  serviceScopes?: readonly string[]
  /**
   * Looks up the client of a token issued here. Absent: every signed token is accepted. An identity provider revokes
   * its own tokens, so they need no look-up.
   */
  findClient?: FindClient | undefined
  /** Accepts tokens of unknown clients: outside production tokens are signed without a look-up of the client. */
  takesUnknownClients?: boolean
  /** The principal of requests without a token. Absent: such requests are refused. */
  anonymous?: Principal
}

/** The state of a client that decides whether its tokens are accepted. */
export interface ClientStatus {
  disabled: boolean
  /** Tokens issued before this time are refused. In ms since 1970; null when all are accepted. */
  tokensNotBefore: number | null
}

/** Looks up a client's status; undefined when no client has this id. */
export type FindClient = (id: string, trace: Trace) => Promise<ClientStatus | undefined>

/** The names of the claims that decide what a token allows. */
export interface ClaimNames {
  /** Absent: the scopes are in `scope` and `scp`. */
  scopes?: string | undefined
  /** Only scopes with this prefix count; the prefix is removed. */
  scopePrefix: string
  /** The customer that the bearer is bound to. */
  customer: string
  audience: string
}

/** Names of RFC 7519, `scope` of RFC 8693, and `customer_id`, which is this system's own. */
const OWN_CLAIMS: ClaimNames = { scopes: 'scope', scopePrefix: '', customer: 'customer_id', audience: 'aud' }

/** The claims that every token needs. Malformed Unicode is refused: different malformed subjects would share a hash. */
const Claims = z.object({
  sub: z
    .string()
    .min(1)
    .refine((sub) => sub.isWellFormed()),
  exp: z.number(),
  iat: z.number().optional(),
})

/** A number, or text: some providers have only text claims. */
const CustomerId = z.union([
  z.int().positive(),
  z
    .string()
    .regex(/^[1-9]\d{0,15}$/)
    .transform(Number)
    .pipe(z.int()),
])

/** @param now gives the time, in ms since 1970 */
export function createAuthenticator(config: AuthConfig, now = () => Date.now()): Authenticator {
  const { jwksUrl, claims: names = OWN_CLAIMS } = config.jwt
  const verifyToken = jwksUrl === undefined ? ownTokens(config.jwt, now) : providerTokens(config.jwt, jwksUrl, now)
  const refusalOfClient = jwksUrl === undefined ? asking(config) : async () => undefined
  const verified = rememberVerified(now)
  const service = servicePrincipal(config.serviceScopes ?? [])
  const isServiceToken = (token: string) => config.serviceTokens.map((known) => sameSecret(known, token)).includes(true)
  return {
    async caller(authorization, trace) {
      if (authorization === undefined && config.anonymous) return config.anonymous
      const token = bearer(authorization)
      const known = verified.get(token)
      if (known) return known
      if (isServiceToken(token)) return service
      return verified.join(token, () => verify(token, trace))
    },
    service(authorization) {
      if (!isServiceToken(bearer(authorization))) throw invalidToken('unknown_service_token')
      return service
    },
  }

  async function verify(token: string, trace: Trace): Promise<Verified> {
    const payload = await verifyToken(token)
    const claims = Claims.safeParse(payload)
    const customerId = CustomerId.optional().safeParse(payload[names.customer])
    if (!claims.success || !customerId.success) throw invalidToken('claims')
    const refusal = await refusalOfClient(claims.data, trace)
    if (refusal !== undefined) throw invalidToken(refusal)
    const { sub, exp } = claims.data
    return {
      principal: { id: principalId(sub), scopes: scopesOf(payload, names), customerId: customerId.data ?? null },
      exp,
    }
  }
}

/** The scopes that a token grants, as text (RFC 8693) or as a list. */
function scopesOf(payload: JWTPayload, { scopes, scopePrefix }: ClaimNames): Set<string> {
  const given = scopes === undefined ? [payload.scope, payload.scp] : [payload[scopes]]
  const listed = given.flat().flatMap((value) => (typeof value === 'string' ? value.split(/\s+/) : []))
  return new Set(
    listed.filter((scope) => scope.startsWith(scopePrefix)).map((scope) => scope.slice(scopePrefix.length)),
  )
}

/** Makes a check of a token's client. It returns the fault; undefined when the token is accepted. */
function asking({ findClient, takesUnknownClients = false }: AuthConfig) {
  return async ({ sub, iat }: z.output<typeof Claims>, trace: Trace): Promise<TokenFault | undefined> => {
    if (findClient === undefined) return undefined
    const client = await findClient(sub, trace)
    if (client === undefined) return takesUnknownClients ? undefined : 'unknown_client'
    if (client.disabled) return 'client_disabled'
    const isTaken =
      client.tokensNotBefore === null || (iat !== undefined && Math.round(iat * 1_000) >= client.tokensNotBefore)
    return isTaken ? undefined : 'token_withdrawn'
  }
}

const MAX_REMEMBERED_TOKENS = 1_000
const MAX_REMEMBERED_SECONDS = 60

interface Verified {
  principal: Principal
  /** The token's expiry, in seconds since 1970. */
  exp: number
}

/**
 * Keeps the principals of verified tokens, so that a caller's next request skips verification. An entry ends when its
 * token expires, after a minute at the latest: from then on a revoked key, client or token is refused.
 */
function rememberVerified(now: () => number) {
  const known = new Map<string, { principal: Principal; until: number }>()
  const inFlight = new Map<string, Promise<Principal>>()

  function set(token: string, { principal, exp }: Verified, asked: number): Principal {
    const [oldest] = known.keys()
    if (known.size >= MAX_REMEMBERED_TOKENS && oldest !== undefined) known.delete(oldest)
    const untilSeconds = Math.min(exp + LEEWAY_SECONDS, asked / 1_000 + MAX_REMEMBERED_SECONDS)
    known.set(token, { principal, until: untilSeconds * 1_000 })
    return principal
  }

  return {
    get(token: string): Principal | undefined {
      const found = known.get(token)
      if (found === undefined || now() < found.until) return found?.principal
      known.delete(token)
      return undefined
    },
    /** Simultaneous requests with the same token share one verification. */
    join(token: string, verify: () => Promise<Verified>): Promise<Principal> {
      const shared = inFlight.get(token)
      if (shared) return shared
      const asked = now()
      const verification = verify()
        .then((verified_) => set(token, verified_, asked))
        .finally(() => inFlight.delete(token))
      inFlight.set(token, verification)
      return verification
    },
  }
}

const OWN_ALGORITHM = 'HS256'
const PROVIDER_ALGORITHMS = ['RS256', 'ES256', 'EdDSA']
/** The most that an issuer's clock may differ from this machine's. */
const LEEWAY_SECONDS = 5

/** Signs a token that {@link createAuthenticator} accepts when no identity provider is set up. */
export function signClaims(claims: Record<string, unknown>, secret: string): Promise<string> {
  return sign(claims, secret, OWN_ALGORITHM)
}

type VerifyToken = (token: string) => Promise<JWTPayload>

function ownTokens({ secret, otherSecret, ...jwt }: AuthConfig['jwt'], now: () => number): VerifyToken {
  const secrets = otherSecret === undefined ? [secret] : [secret, otherSecret]
  const rules = { issuer: jwt.issuer, audiences: [jwt.audience], audienceClaim: OWN_CLAIMS.audience }
  const verifiers = secrets.map((known) => {
    const key = new TextEncoder().encode(known)
    return verifyBy(async () => key, [OWN_ALGORITHM], rules, now)
  })
  return async (token) => {
    let refusal: unknown
    for (const verify of verifiers) {
      try {
        return await verify(token)
      } catch (error) {
        // Only one secret signed the token. A fault found with that one says more than the other's bad signature.
        if (!(refusal instanceof AppError) || refusal.cause === 'signature') refusal = error
      }
    }
    throw refusal
  }
}

function providerTokens(jwt: AuthConfig['jwt'], jwksUrl: string, now: () => number): VerifyToken {
  const { issuer, audience, audiences = [audience], claims = OWN_CLAIMS } = jwt
  const rules = { issuer, audiences, audienceClaim: claims.audience }
  return verifyBy(createRemoteKeys(jwksUrl, now), PROVIDER_ALGORITHMS, rules, now)
}

interface TokenRules {
  issuer: string
  audiences: readonly string[]
  audienceClaim: string
}

/** @throws AppError `invalid_token`, and those of the key's lookup */
function verifyBy(
  getKey: JWTVerifyGetKey,
  algorithms: string[],
  { issuer, audiences, audienceClaim }: TokenRules,
  now: () => number,
): VerifyToken {
  // `iat` is not checked here: the issuer's clock may run a little ahead of this machine's.
  const options = { issuer, algorithms, requiredClaims: ['exp', 'sub'], clockTolerance: LEEWAY_SECONDS }
  return async (token) => {
    const verified = await jwtVerify(token, getKey, { ...options, currentDate: new Date(now()) }).catch(refuseToken)
    const { payload, protectedHeader } = verified
    const isMeantForUs = [payload[audienceClaim]].flat().some((name) => audiences.some((known) => known === name))
    if (!isMeantForUs) throw invalidToken('audience')
    if (!isAccessToken(protectedHeader.typ)) throw invalidToken('type')
    return payload
  }
}

/** A provider's unusable key makes its tokens invalid. Only a failed fetch of the keys, an AppError, is passed on. */
function refuseToken(error: unknown): never {
  throw error instanceof AppError ? error : invalidToken(faultOf(error))
}

/** Why a token is refused. Only the log shows it. */
export type TokenFault =
  | 'missing'
  | 'malformed'
  | 'signature'
  | 'algorithm'
  | 'expired'
  | 'not_yet_valid'
  | 'issuer'
  | 'audience'
  | 'type'
  | 'claims'
  | 'unknown_client'
  | 'client_disabled'
  | 'token_withdrawn'
  | 'unknown_service_token'

const FAULTS: Record<string, TokenFault> = {
  ERR_JWT_EXPIRED: 'expired',
  ERR_JOSE_ALG_NOT_ALLOWED: 'algorithm',
  ERR_JOSE_NOT_SUPPORTED: 'algorithm',
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: 'signature',
  ERR_JWKS_NO_MATCHING_KEY: 'signature',
}
const FAULTY_CLAIMS: Record<string, TokenFault> = { nbf: 'not_yet_valid', iss: 'issuer', aud: 'audience' }

/** The fault in an error of jose. */
function faultOf(error: unknown): TokenFault {
  if (!(error instanceof Error)) return 'malformed'
  const { code = '', claim = '' } = unsafeCast<{ code?: string; claim?: string }>(error)
  if (code === 'ERR_JWT_CLAIM_VALIDATION_FAILED') return FAULTY_CLAIMS[claim] ?? 'claims'
  return FAULTS[code] ?? 'malformed'
}

/** The same keys sign other types, such as `logout+jwt`, which mean something else (RFC 8725, section 3.11). */
function isAccessToken(type: unknown): boolean {
  return type === undefined || (typeof type === 'string' && /^(application\/)?(at\+)?jwt$/i.test(type))
}

function bearer(authorization: string | undefined): string {
  if (authorization === undefined)
    throw new AppError(
      PLATFORM_ERRORS.unauthorized,
      'Send a bearer token in the Authorization header.',
      {},
      { cause: 'missing' },
    )
  const token = bearerTokenIn(authorization)
  if (token === undefined) throw invalidToken('malformed')
  return token
}

/** The response does not show the fault. */
function invalidToken(fault: TokenFault): AppError {
  const detail = 'The token is malformed, expired, or not meant for this service.'
  return new AppError(PLATFORM_ERRORS.invalid_token, detail, {}, { cause: fault })
}
