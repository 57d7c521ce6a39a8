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
    /** What tokens are signed with. */
    secret: string
    /** Tokens signed with it are taken too, while one secret takes the other's place. */
    otherSecret?: string | undefined
    issuer: string
    audience: string
    jwksUrl: string | undefined
    /** With `jwksUrl`: whom the provider's tokens may be meant for; absent, only `audience`. */
    audiences?: readonly string[]
    /** With `jwksUrl`: where the provider's tokens say what; absent, where our own do. */
    claims?: ClaimNames
  }
  serviceTokens: readonly string[]
  /** What they may do besides `/internal/*`. */
  serviceScopes?: readonly string[]
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
export interface ClientStatus {
  disabled: boolean
  /** Tokens issued before it are not taken. In ms since 1970; null when all are. */
  tokensNotBefore: number | null
}

/** How a client stands; undefined when there is none of this id. */
export type FindClient = (id: string, trace: Trace) => Promise<ClientStatus | undefined>

/** The names under which tokens say what decides here. */
export interface ClaimNames {
  /** Absent, the scopes are in `scope` and `scp`. */
  scopes?: string | undefined
  /** A scope counts only with this before it. */
  scopePrefix: string
  /** The customer that the bearer is bound to. */
  customer: string
  audience: string
}

/** RFC 7519 names, RFC 8693 `scope`; `customer_id` is ours. */
const OWN_CLAIMS: ClaimNames = { scopes: 'scope', scopePrefix: '', customer: 'customer_id', audience: 'aud' }

/** What a token must say of its bearer. A subject that is no Unicode text would share its hash with others. */
const Claims = z.object({
  sub: z
    .string()
    .min(1)
    .refine((sub) => sub.isWellFormed()),
  exp: z.number(),
  iat: z.number().optional(),
})

/** As a number, or as text: some providers have no other kind of claim. */
const CustomerId = z.union([
  z.int().positive(),
  z
    .string()
    .regex(/^[1-9]\d{0,15}$/)
    .transform(Number)
    .pipe(z.int()),
])

/** @param now the time, in ms since 1970 */
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

/** Why the tokens of a client are not taken, or this one is not; undefined when they are. */
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
  /** When the token expires, in seconds since 1970. */
  exp: number
}

/**
 * Who the tokens of the last minute were found to name, so that a caller's next request need not prove it again. A token
 * is forgotten when it expires, and after a minute in any case: then a key, a client, a token that was withdrawn counts.
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
    /** Requests that show one token at one time share one proof. */
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
/** How far an issuer's clock may be from this machine's. */
const LEEWAY_SECONDS = 5

/** A token of our own: what {@link createAuthenticator} takes where no identity provider is set up. */
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
        // The token was signed with one secret: what is wrong with it there says more than that the other does not fit.
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
  // `iat` decides nothing here: the clock of the machine that issued the token may run a little ahead of ours.
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

/** A provider's bad key is a fault of the tokens that name it; only keys that can't be fetched are not. */
function refuseToken(error: unknown): never {
  throw error instanceof AppError ? error : invalidToken(faultOf(error))
}

/** Why a token is refused: for the log alone. */
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

/** What jose found. */
function faultOf(error: unknown): TokenFault {
  if (!(error instanceof Error)) return 'malformed'
  const { code = '', claim = '' } = unsafeCast<{ code?: string; claim?: string }>(error)
  if (code === 'ERR_JWT_CLAIM_VALIDATION_FAILED') return FAULTY_CLAIMS[claim] ?? 'claims'
  return FAULTS[code] ?? 'malformed'
}

/** Other types, such as `logout+jwt`, are signed by the same keys and mean something else (RFC 8725, section 3.11). */
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

/** The caller is not told which of these it is. */
function invalidToken(fault: TokenFault): AppError {
  const detail = 'The token is malformed, expired, or not meant for this service.'
  return new AppError(PLATFORM_ERRORS.invalid_token, detail, {}, { cause: fault })
}
