import { type Scope, signClaims } from '../platform/auth.ts'
import type { Database } from '../platform/database.ts'
import { AppError } from '../platform/errors.ts'
import { randomSecret, sameSecret, sha256 } from '../platform/hash.ts'
import { findClient, insertClient } from './store.ts'

export interface TokenConfig {
  secret: string
  issuer: string
  audience: string
  ttlSeconds: number
  /** Client ids that get no token, whatever the database says of them. */
  refusedClients?: readonly string[]
}

export interface Credentials {
  clientId: string
  clientSecret: string
}

export interface IssuedToken {
  access_token: string
  token_type: 'Bearer'
  /** Seconds */
  expires_in: number
  scope: string
}

export type TokenService = ReturnType<typeof createTokenService>

/** Secrets are 256 random bits of our own making, so one round of SHA-256 hides them as well as a slow hash would. */
const NOBODYS_HASH = sha256(randomSecret())

export function createTokenService(db: Database, config: TokenConfig) {
  return {
    /**
     * A token for a client that proves who it is (RFC 6749, section 4.4).
     * @param asked scopes, separated by spaces; undefined means all that the client has
     * @throws AppError `invalid_client`, `invalid_scope`
     */
    async issueToken({ clientId, clientSecret }: Credentials, asked: string | undefined): Promise<IssuedToken> {
      const client = await findClient(db, clientId)
      const proven = sameSecret(sha256(clientSecret), client?.secret_hash ?? NOBODYS_HASH)
      const usable = client && client.disabled_at === null && !config.refusedClients?.includes(clientId)
      if (!proven || !usable)
        throw new AppError('invalid_client', 'The client id or secret is wrong.', { error: 'invalid_client' })
      const scope = narrowScope(client.scope, asked)
      return signToken(config, { clientId, scope, customerId: client.customer_id })
    },
  }
}

/** @throws AppError `invalid_scope` */
function narrowScope(granted: string, asked: string | undefined): string {
  if (asked === undefined || asked.trim() === '') return granted
  const has = new Set(granted.split(' '))
  const wanted = [...new Set(asked.trim().split(/\s+/))]
  const refused = wanted.filter((scope) => !has.has(scope))
  if (refused.length === 0) return wanted.join(' ')
  throw new AppError('invalid_scope', `The client may not have: ${refused.join(' ')}.`, { error: 'invalid_scope' })
}

/** Signs a token without asking whether the client exists: for `issueToken`, and for development. */
export async function signToken(
  config: TokenConfig,
  client: { clientId: string; scope: string; customerId: number | null },
): Promise<IssuedToken> {
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: config.issuer,
    aud: config.audience,
    sub: client.clientId,
    scope: client.scope,
    ...(client.customerId !== null && { customer_id: client.customerId }),
    iat: now,
    exp: now + config.ttlSeconds,
  }
  return {
    access_token: await signClaims(claims, config.secret),
    token_type: 'Bearer',
    expires_in: config.ttlSeconds,
    scope: client.scope,
  }
}

/** Makes a client and returns its secret, which is kept nowhere: only its hash is. */
export async function createClient(
  db: Database,
  client: { id: string; name: string; scopes: readonly Scope[]; customerId: number | null },
): Promise<{ clientSecret: string }> {
  const clientSecret = randomSecret()
  await insertClient(db, {
    id: client.id,
    name: client.name,
    secret_hash: sha256(clientSecret),
    scope: client.scopes.join(' '),
    customer_id: client.customerId,
  })
  return { clientSecret }
}
