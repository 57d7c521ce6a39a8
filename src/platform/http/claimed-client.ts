import type { Context } from 'hono'
import { decodeJwt } from 'jose'
import type { AppEnv } from './app.ts'
import { bearerTokenIn } from './principal.ts'

const MAX_SHOWN_CHARACTERS = 100
/** As long as a secret, a token or a hash. */
const LONG_RUN = /[\w.+/=-]{43,}/g
const MIN_CHARACTERS_OF_SECRET = 10

/**
 * Whom a refused request says it is from: the client id of a token request, or the subject of a bearer token. Nobody has
 * verified it. It is shortened for the log, and shows no secret that was sent in the id's place.
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
