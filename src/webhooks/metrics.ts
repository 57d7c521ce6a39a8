import type { DatabaseGauge } from '../platform/database/gauges.ts'
import type { Telemetry } from '../platform/telemetry/telemetry.ts'
import type { Outbox } from './outbox.ts'
import { outcomeOf } from './retry-schedule.ts'

export const ATTEMPTS = {
  kind: 'counter',
  name: 'b2b_webhook_attempts_total',
  help: 'Attempts to send a webhook, by what the receiver answered or why it did not.',
  labels: ['outcome'],
} as const

/** An outbox whose attempts are counted. */
export function countAttempts({ send }: Outbox, { metrics }: Telemetry): Outbox {
  return {
    async send(...message) {
      const attempt = await send(...message)
      const outcome = attempt.status === null ? (attempt.error ?? 'failed') : outcomeOf(attempt.status)
      metrics.counter(ATTEMPTS, outcome)()
      return attempt
    },
  }
}

/**
 * What an endpoint waits for: its oldest delivery that is not done, or the first event that no delivery was made of, which
 * has the position after the cursor.
 */
const OLDEST_WAITING = (byIndex: (name: string) => string) => `select min(since) as value from (
  select (
    select d.created_at from webhook_deliveries d ${byIndex('webhook_deliveries_status')}
    where d.endpoint_id = e.id and d.status = 'pending' order by d.created_at limit 1) as since
  from webhook_endpoints e ${byIndex('webhook_endpoints_status')} where e.status = 'enabled'
  union all
  select (
    select min(v.occurred_at) from events v ${byIndex('events_position')} where v.position = found.position + 1)
  from (
    select min(\`cursor\`) as position from webhook_endpoints e ${byIndex('webhook_endpoints_status')}
    where e.status = 'enabled') as found
) as found`

const endpointsThatAre = (status: string, byIndex: (name: string) => string) =>
  `select '${status}' as label, count(*) as value from webhook_endpoints e ${byIndex('webhook_endpoints_status')}
   where status = '${status}'`

export const WEBHOOK_GAUGES: readonly DatabaseGauge[] = [
  {
    series: {
      kind: 'gauge',
      name: 'b2b_webhook_pending_age_seconds',
      help: 'Age of the oldest event that an enabled endpoint has not got yet.',
      labels: [],
    },
    kind: 'age',
    select: OLDEST_WAITING,
  },
  {
    series: { kind: 'gauge', name: 'b2b_webhook_endpoints', help: 'Webhook endpoints, by status.', labels: ['status'] },
    kind: 'number',
    select: (byIndex) => `${endpointsThatAre('enabled', byIndex)} union all ${endpointsThatAre('disabled', byIndex)}`,
  },
]
