import { createHmac, randomBytes } from 'node:crypto'
import { sameSecret } from '../platform/core/crypto.ts'

// Standard Webhooks 1.0.0 (https://www.standardwebhooks.com), with its symmetric signatures.

const PREFIX = 'whsec_'
const SECRET_BYTES = 32
const MIN_SECRET_BYTES = 24
const MAX_SECRET_BYTES = 64
const TOLERANCE_SECONDS = 5 * 60

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
/** A full stop in an id would let one signature stand for two messages. */
const ID = /^[\w-]{1,200}$/
const TIMESTAMP = /^\d{1,12}$/

/** One attempt to send an event. */
export interface WebhookMessage {
  /** The same for each attempt. */
  id: string
  /** When this attempt is made, in seconds since 1970. */
  timestampSeconds: number
  /** The bytes that are sent; text is sent as UTF-8. */
  body: string | Uint8Array
}

export type SignedHeaders = Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string>

/** The headers of a request as Node has them. */
type ReceivedHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

export type Verdict = 'verified' | 'headers_missing' | 'invalid_timestamp' | 'too_old' | 'too_new' | 'wrong_signature'

/** A fresh secret of 256 random bits: `whsec_` and base64. */
export function generateSecret(): string {
  return PREFIX + randomBytes(SECRET_BYTES).toString('base64')
}

/** Whether a text is `whsec_` and the base64 of as many bytes as the specification allows. */
export function isSecret(text: string): boolean {
  const encoded = text.slice(PREFIX.length)
  if (!text.startsWith(PREFIX) || !BASE64.test(encoded)) return false
  const { length } = Buffer.from(encoded, 'base64')
  return length >= MIN_SECRET_BYTES && length <= MAX_SECRET_BYTES
}

/**
 * The headers that sign a message.
 * @param secrets each signs: two while one replaces the other
 * @throws for a malformed id or secret
 */
export function signedHeaders(secrets: readonly [string, ...string[]], message: WebhookMessage): SignedHeaders {
  const { id, timestampSeconds, body } = message
  if (!ID.test(id)) throw new Error('The id of a webhook must have only letters, digits, _ and -')
  const timestamp = String(Math.floor(timestampSeconds))
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': secrets.map((secret) => sign(secret, id, timestamp, body)).join(' '),
  }
}

/** Verifies what a receiver got. The time is judged first: an old message with a right signature may be a repeated one. */
export function verify(
  secret: string,
  headers: ReceivedHeaders,
  body: WebhookMessage['body'],
  nowSeconds: number,
): Verdict {
  const id = textOf(headers['webhook-id'])
  const timestamp = textOf(headers['webhook-timestamp'])
  const signatures = textOf(headers['webhook-signature'])
  if (id === '' || timestamp === '' || signatures === '') return 'headers_missing'
  if (!TIMESTAMP.test(timestamp)) return 'invalid_timestamp'
  const ageSeconds = nowSeconds - Number(timestamp)
  if (Math.abs(ageSeconds) > TOLERANCE_SECONDS) return ageSeconds > 0 ? 'too_old' : 'too_new'
  const expected = sign(secret, id, timestamp, body)
  return signatures.split(' ').some((given) => sameSecret(given, expected)) ? 'verified' : 'wrong_signature'
}

function textOf(header: ReceivedHeaders[string]): string {
  return typeof header === 'string' ? header : ''
}

function sign(secret: string, id: string, timestamp: string, body: WebhookMessage['body']): string {
  const hmac = createHmac('sha256', keyOf(secret)).update(`${id}.${timestamp}.`).update(body)
  return `v1,${hmac.digest('base64')}`
}

function keyOf(secret: string): Buffer {
  if (!isSecret(secret)) throw new Error('The secret of a webhook is malformed')
  return Buffer.from(secret.slice(PREFIX.length), 'base64')
}
