import type { Context } from 'hono'
import { decodeJwt } from 'jose'
import type { AppEnv } from './app.ts'
import { bearerTokenIn } from './principal.ts'

const MAX_SHOWN_CHARACTERS = 100
/** Runs at least as long as a secret, a token or a hash. */
const LONG_RUN = /[\w.+/=-]{43,}/g
const MIN_CHARACTERS_OF_SECRET = 10

/**
 * The unverified client id of a refused request: from the token request, or the subject of the bearer token. It is
 * shortened for the log, and hides a secret that was sent as the id.
 */
export function claimedClientOf(c: Context<AppEnv>): string | undefined {
  const claimed = c.get('claimedClient') ?? claimedSubject(c.req.header('authorization'))
  return claimed ? shorten(claimed) : undefined
}

function claimedSubject(authorization: string | undefined): string | undefined {
  try {
    const { sub } = decodeJwt(bearerTokenIn(authorization ?? '') ?? '')
    return typeof sub === 'string' ? sub : undefined
  } catch {
    return undefined
  }
}

function shorten(text: string): string {
  const visible = text.replace(/\p{C}/gu, '').replace(/\p{Z}+/gu, ' ')
  const safe = visible.replace(LONG_RUN, (run) => (looksRandom(run) ? '(hidden)' : run))
  return [...safe].slice(0, MAX_SHOWN_CHARACTERS).join('')
}

function looksRandom(run: string): boolean {
  return new Set(run).size >= MIN_CHARACTERS_OF_SECRET
}
