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
const DUMMY_HASH = sha256(randomSecret())

export function createTokenService(db: Database, config: TokenConfig) {
  return {
    /**
     * A token for a client that proves who it is (RFC 6749, section 4.4).
     * @param asked scopes, separated by spaces; undefined means all that the client has
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

    /** For whoever is shown a token of this client. */
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

/** Not before the time from which the client's tokens are taken: that is a little ahead of the clock just after a rotation. */
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
 * Signs a token without asking whether the client exists: for `issueToken`, and for development.
 * @param issuedAt in ms since 1970. By the database's clock it can be held against the time of a rotation, exactly.
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

/** Makes a client and returns its secret, which is kept nowhere: only its hash is. */
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

/** A client as those see it who look after clients: nothing here proves who it is. */
export interface ClientSummary {
  id: string
  name: string
  scopes: string[]
  customer_id: number | null
  created_at: string
  disabled_since: string | null
  /** Tokens issued before it are not taken. */
  tokens_not_before: string | null
}

/** Every client, the oldest first. */
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
 * Gives a client a new secret. From then on the old one gets no token, and no token that it got is taken.
 * @returns the secret, and since when the client is disabled: then the new one gets no token either. Undefined when there
 *   is no such client
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
 * From then on the client gets no token, and none that it has is taken: not even when it is enabled again.
 * @returns since when it is disabled, and whether it was before; undefined when there is no such client
 */
export async function disableClient(db: Database, id: string): Promise<{ since: string; before: boolean } | undefined> {
  const client = await findClient(db, id)
  if (client === undefined) return undefined
  const since = client.disabled_at ?? (await readClock(db))
  await updateClient(db, id, { disabled_at: since })
  await revokeTokens(db, client)
  return { since: toRfc3339(since), before: client.disabled_at !== null }
}

/** The client gets tokens again. @returns since when it was disabled; undefined when there is no such client */
export async function enableClient(db: Database, id: string): Promise<{ disabledSince: string | null } | undefined> {
  const client = await findClient(db, id)
  if (client === undefined) return undefined
  await updateClient(db, id, { disabled_at: null })
  return { disabledSince: toRfc3339OrNull(client.disabled_at) }
}

/** How far the clocks of the servers of one cluster may be apart. */
const MAX_CLOCK_SKEW_MS = 5_000

/**
 * Must run after the secret changed or the client was disabled: every token that was issued until then has an earlier `iat`,
 * also one by the clock of another node. Each withdrawal has a later time than the one before.
 */
async function revokeTokens(db: Database, { id, tokens_from }: ApiClient): Promise<void> {
  const from = addMs(await readClock(db), MAX_CLOCK_SKEW_MS)
  await updateClient(db, id, { tokens_from: tokens_from === null ? from : laterOf(from, addMs(tokens_from, 1)) })
}
