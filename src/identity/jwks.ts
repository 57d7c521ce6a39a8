import { createRemoteJWKSet, customFetch, type JWTVerifyGetKey } from 'jose'
import { z } from 'zod'
import { AppError, PLATFORM_ERRORS } from '../platform/core/errors.ts'

const MAX_KEY_SET_BYTES = 256 * 1024
const FETCH_TIMEOUT_MS = 2_000
const PAUSE_AFTER_FAILURE_MS = 5_000

/**
 * An identity provider's public keys, fetched when a token names an unknown key. A fetch follows no redirect. After a
 * failed fetch the next one waits at least five seconds.
 * The returned lookup throws AppError `unavailable` while the keys can't be fetched.
 * @param now gives the time, in ms since 1970
 */
export function createRemoteKeys(url: string, now: () => number): JWTVerifyGetKey {
  let pausedUntil = 0
  const fetchOrPause = async (href: string, options: RequestInit): Promise<Response> => {
    if (now() < pausedUntil) throw providerUnavailable(pausedUntil - now(), 'the last fetch of its keys failed')
    try {
      return Response.json(await fetchKeySet(href, options))
    } catch (cause) {
      pausedUntil = now() + PAUSE_AFTER_FAILURE_MS
      throw providerUnavailable(PAUSE_AFTER_FAILURE_MS, cause)
    }
  }
  return createRemoteJWKSet(new URL(url), { timeoutDuration: FETCH_TIMEOUT_MS, [customFetch]: fetchOrPause })
}

/** RFC 7517, section 5. An entry that is no object is no key. It is dropped, so that the other keys stay usable. */
const KeySet = z.object({ keys: z.array(z.unknown()) }).transform(({ keys }) => ({ keys: keys.filter(isObject) }))

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

async function fetchKeySet(href: string, options: RequestInit): Promise<z.output<typeof KeySet>> {
  const response = await fetch(href, options)
  if (response.status !== 200) throw new Error(`the identity provider answered with ${response.status}`)
  const keySet = KeySet.parse(JSON.parse(await readText(response)))
  if (keySet.keys.length === 0) throw new Error('the identity provider has no keys')
  return keySet
}

/** @throws Error when the body is larger than {@link MAX_KEY_SET_BYTES}. The rest of the body is not read. */
async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder()
  let bytes = 0
  let text = ''
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > MAX_KEY_SET_BYTES) throw new Error(`the key set is larger than ${MAX_KEY_SET_BYTES} bytes`)
    text += decoder.decode(chunk, { stream: true })
  }
  return text + decoder.decode()
}

function providerUnavailable(pauseMs: number, cause: unknown): AppError {
  const extra = { retry_after: Math.ceil(pauseMs / 1_000) }
  return new AppError(PLATFORM_ERRORS.unavailable, 'The identity provider cannot be reached. Try again.', extra, {
    cause,
  })
}
