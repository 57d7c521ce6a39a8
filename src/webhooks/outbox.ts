import type { Event } from '../events/event-response.ts'
import { type DbTime, msOf, toRfc3339 } from '../platform/core/time.ts'
import type { SecretBox } from './secret-box.ts'
import type { Attempt, Send } from './sender.ts'
import { signedHeaders } from './signature.ts'
import type { EndpointRow } from './store.ts'

/** `not_signed`: a key is missing that the endpoint's secret is encrypted with. Nothing was sent. */
export type OutboxAttempt = Omit<Attempt, 'error'> & { error: Attempt['error'] | 'not_signed' }

/** An event, or a ping. */
export interface WebhookMessage {
  /** The `webhook-id`: the same for each attempt. */
  id: string
  body: string
  /** The `traceparent` of what led to it. The receiver does not get it. */
  cause: string | null
}

/** Signs events, and posts them to endpoints. */
export interface Outbox {
  /**
   * Makes one attempt, and never rejects.
   * @param signal gives the attempt up
   */
  send(endpoint: EndpointRow, message: WebhookMessage, signal?: AbortSignal): Promise<OutboxAttempt>
}

const USER_AGENT = 'b2b-orders-webhooks/1'

/** @param nowMs the time of this machine: receivers compare it with theirs */
export function createOutbox(secrets: SecretBox | undefined, post: Send, nowMs = Date.now): Outbox {
  return {
    async send(endpoint, { id, body }, signal) {
      let headers: Record<string, string>
      try {
        const now = nowMs()
        const message = { id, timestampSeconds: Math.floor(now / 1_000), body }
        headers = { ...signedHeaders(secretsOf(endpoint, secrets, now), message) }
      } catch (cause) {
        return { status: null, error: 'not_signed', durationMs: 0, excerpt: '', retryAfter: null, cause }
      }
      const all = { ...headers, 'content-type': 'application/json', 'user-agent': USER_AGENT }
      return post(endpoint.url, { headers: all, body }, signal)
    },
  }
}

/** The secrets that sign: the present one, and the one before it while its grace lasts. @throws SealedSecretError */
function secretsOf(
  { id, secret, old_secret, old_secret_until }: EndpointRow,
  secrets: SecretBox | undefined,
  nowMs: number,
): [string, ...string[]] {
  if (secrets === undefined) throw new Error('WEBHOOK_KEYS is missing')
  const signing: [string, ...string[]] = [secrets.open(secret, id)]
  if (old_secret && old_secret_until && msOf(old_secret_until) > nowMs) signing.push(secrets.open(old_secret, id))
  return signing
}

/** An event that tells only that events arrive. It is not in the feed. */
export function pingOf({ id, version }: Pick<EndpointRow, 'id' | 'version'>, now: DbTime): PingEvent {
  return {
    id: `ping_${crypto.randomUUID()}`,
    type: 'ping',
    timestamp: toRfc3339(now),
    position: null,
    resource: { type: 'webhook_endpoint', id, version },
    actor: { type: 'system', id: 'webhooks' },
    correlation_id: null,
    data: {},
  }
}

export type PingEvent = Omit<Event, 'type' | 'position' | 'data'> & {
  type: 'ping'
  position: null
  data: Record<string, never>
}
