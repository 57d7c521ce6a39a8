import { randomSecret, sameSecret, sha256 } from '../platform/core/crypto.ts'
import { AppError } from '../platform/core/errors.ts'
import { addMs, type DbTime, laterOf, msOf, toRfc3339, toRfc3339OrNull } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'
import type { Database } from '../platform/database/types.ts'
import { type ClientStatus, signClaims } from './authenticator.ts'
import type { JwtConfig } from './config.ts'
import { IDENTITY_ERRORS } from './errors.ts'
import { type ApiClient, findClient, findClientNow, findClients, insertClient, updateClient } from './store.ts'

const { invalid_client, invalid_scope } = IDENTITY_ERRORS

export interface TokenConfig extends Pick<JwtConfig, 'secret' | 'issuer' | 'audience' | 'ttlSeconds'> {
  /** Client ids that get no token, whatever their status in the database. */
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

/** Compared for an unknown client. Secrets are 256 generated random bits: SHA-256 protects them like a slow hash. */
const DUMMY_HASH = sha256(randomSecret())

export function createTokenService(db: Database, config: TokenConfig) {
  return {
    /**
     * Issues a token to a client with the right secret (RFC 6749, section 4.4).
     * @param asked scopes, separated by spaces; undefined means all scopes of the client
     * @throws AppError `invalid_client`, `invalid_scope`
     */
    async issueToken({ clientId, clientSecret }: Credentials, asked: string | undefined): Promise<IssuedToken> {
      const client = await findClientNow(db, clientId)
      const proven = sameSecret(sha256(clientSecret), client?.secret_hash ?? DUMMY_HASH)
      if (!proven || client === undefined || isDisabled(client))
        throw new AppError(invalid_client, 'The client id or secret is wrong.', { error: invalid_client.code })
      const scope = narrowScope(client.scope, asked)
      return signToken(config, { clientId, scope, customerId: client.customer_id }, issueTimeOf(client))
    },

    /** The client's status, for checking its tokens; undefined when no client has this id. */
    async findStatus(id: string): Promise<ClientStatus | undefined> {
      const client = await findClient(db, id)
      if (client === undefined) return undefined
      const { tokens_from } = client
      return { disabled: isDisabled(client), tokensNotBefore: tokens_from === null ? null : msOf(tokens_from) }
    },
  }

  function isDisabled({ id, disabled_at }: ApiClient): boolean {
    return disabled_at !== null || config.refusedClients?.includes(id) === true
  }
}

/** In ms since 1970, never before `tokens_from`: right after a rotation that time is a little ahead of the clock. */
function issueTimeOf({ now, tokens_from }: { now: DbTime; tokens_from: DbTime | null }): number {
  return msOf(laterOf(now, tokens_from ?? now))
}

/** @throws AppError `invalid_scope` */
function narrowScope(granted: string, asked: string | undefined): string {
  if (asked === undefined || asked.trim() === '') return granted
  const has = new Set(granted.split(' '))
  const wanted = [...new Set(asked.trim().split(/\s+/))]
  const refused = wanted.filter((scope) => !has.has(scope))
  if (refused.length === 0) return wanted.join(' ')
  throw new AppError(invalid_scope, `The client does not have: ${refused.join(' ')}.`, { error: invalid_scope.code })
}

/**
 * Signs a token without checking that the client exists: for `issueToken`, and for development.
 * @param issuedAt in ms since 1970. A time of the database's clock compares exactly with the time of a rotation.
 */
export async function signToken(
  config: TokenConfig,
  client: { clientId: string; scope: string; customerId: number | null },
  issuedAt = Date.now(),
): Promise<IssuedToken> {
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: config.issuer,
    aud: config.audience,
    sub: client.clientId,
    scope: client.scope,
    ...(client.customerId !== null && { customer_id: client.customerId }),
    iat: issuedAt / 1000,
    exp: now + config.ttlSeconds,
  }
  return {
    access_token: await signClaims(claims, config.secret),
    token_type: 'Bearer',
    expires_in: config.ttlSeconds,
    scope: client.scope,
  }
}

/** Makes a client and returns its secret. Only the secret's hash is stored. */
export async function createClient(
  db: Database,
  client: { id: string; name: string; scopes: readonly string[]; customerId: number | null },
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

/** A client for administrators, without the secret's hash. */
export interface ClientSummary {
  id: string
  name: string
  scopes: string[]
  customer_id: number | null
  created_at: string
  disabled_since: string | null
  /** Tokens issued before this time are refused. */
  tokens_not_before: string | null
}

/** All clients, the oldest first. */
export async function listClients(db: Database): Promise<ClientSummary[]> {
  const clients = await findClients(db)
  return clients.map(({ id, name, scope, customer_id, created_at, disabled_at, tokens_from }) => ({
    id,
    name,
    scopes: scope.split(' ').filter((one) => one !== ''),
    customer_id,
    created_at: toRfc3339(created_at),
    disabled_since: toRfc3339OrNull(disabled_at),
    tokens_not_before: toRfc3339OrNull(tokens_from),
  }))
}

/**
 * Gives a client a new secret. The old secret then gets no token, and all tokens issued with it are refused.
 * @returns the secret, and the time since which the client is disabled (a disabled client gets no token); undefined
 *   when no client has this id
 */
export async function rotateSecret(
  db: Database,
  id: string,
): Promise<{ clientSecret: string; disabledSince: string | null } | undefined> {
  const client = await findClient(db, id)
  if (client === undefined) return undefined
  const clientSecret = randomSecret()
  await updateClient(db, id, { secret_hash: sha256(clientSecret) })
  await revokeTokens(db, client)
  return { clientSecret, disabledSince: toRfc3339OrNull(client.disabled_at) }
}

/**
 * Disables a client: it gets no token, and its tokens are refused, even after it is enabled again.
 * @returns the time since which the client is disabled, and whether it was disabled before; undefined when no client
 *   has this id
 */
export async function disableClient(db: Database, id: string): Promise<{ since: string; before: boolean } | undefined> {
  const client = await findClient(db, id)
  if (client === undefined) return undefined
  const since = client.disabled_at ?? (await readClock(db))
  await updateClient(db, id, { disabled_at: since })
  await revokeTokens(db, client)
  return { since: toRfc3339(since), before: client.disabled_at !== null }
}

/** Lets a client get tokens again. @returns since when it was disabled; undefined when no client has this id */
export async function enableClient(db: Database, id: string): Promise<{ disabledSince: string | null } | undefined> {
  const client = await findClient(db, id)
  if (client === undefined) return undefined
  await updateClient(db, id, { disabled_at: null })
  return { disabledSince: toRfc3339OrNull(client.disabled_at) }
}

/** The most that the clocks of a cluster's servers may differ. */
const MAX_CLOCK_SKEW_MS = 5_000

/**
 * Must run after the secret changed or the client was disabled: every token issued until then has an `iat` before the
 * new `tokens_from`, even by the clock of another node. Each revocation has a later time than the one before.
 */
async function revokeTokens(db: Database, { id, tokens_from }: ApiClient): Promise<void> {
  const from = addMs(await readClock(db), MAX_CLOCK_SKEW_MS)
  await updateClient(db, id, { tokens_from: tokens_from === null ? from : laterOf(from, addMs(tokens_from, 1)) })
}
