import type { Telemetry } from '../platform/telemetry/telemetry.ts'
import type { Outbox, OutboxAttempt } from './outbox.ts'

/** An outbox that shows each attempt in a trace of its own, linked to that of its cause: it can come days later. */
export function traceAttempts(outbox: Outbox, { tracer }: Telemetry): Outbox {
  if (tracer === undefined) return outbox
  return {
    async send(endpoint, message, signal) {
      const attributes = { 'http.request.method': 'POST' }
      const span = tracer.startLinked('webhook attempt', [message.cause ?? undefined], { kind: 'client', attributes })
      const attempt = await outbox.send(endpoint, message, signal)
      if (attempt.status !== null) span.set({ 'http.response.status_code': attempt.status })
      span.end(failureOf(attempt))
      return attempt
    },
  }
}

/** Only a 2xx means that the receiver has the message. */
function failureOf({ status, error }: OutboxAttempt): string | undefined {
  return status !== null && status >= 200 && status < 300 ? undefined : (error ?? String(status))
}
