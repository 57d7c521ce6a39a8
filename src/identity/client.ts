import { withTimeLimit } from '../platform/core/timeout.ts'
import type { FindClient } from '../platform/http/auth.ts'
import { callService, type Route, unlessNotFound } from '../platform/rpc/client.ts'
import { ClientStanding } from './contract.ts'

/**
 * How the clients of our own tokens stand, as Customers knows it.
 * @param limitMs the time that all attempts may take together
 */
export function createClientsClient(route: Route, limitMs: number): FindClient {
  return async (id, trace) => {
    const path = `/internal/clients/${encodeURIComponent(id)}`
    const ask = (signal: AbortSignal) =>
      callService(route, { method: 'GET', path, trace, answer: ClientStanding, signal })
    const reply = await withTimeLimit(limitMs, ask).catch(unlessNotFound)
    if (reply === undefined) return undefined
    const { disabled, tokens_from } = reply.value
    return { disabled, tokensFrom: tokens_from === null ? null : Date.parse(tokens_from) }
  }
}
