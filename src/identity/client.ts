import { withTimeLimit } from '../platform/core/timeout.ts'
import { callService, type Upstream, unlessNotFound } from '../platform/rpc/client.ts'
import type { FindClient } from './authenticator.ts'
import { ClientStatus } from './contract.ts'

/**
 * Asks the Customers service for the status of clients, for the check of their tokens.
 * @param limitMs the time limit of all attempts together
 */
export function createClientsClient(upstream: Upstream, limitMs: number): FindClient {
  return async (id, trace) => {
    const path = `/internal/clients/${encodeURIComponent(id)}`
    const ask = (signal: AbortSignal) =>
      callService(upstream, { method: 'GET', path, trace, responseSchema: ClientStatus, signal })
    const reply = await withTimeLimit(limitMs, ask).catch(unlessNotFound)
    if (reply === undefined) return undefined
    const { disabled, tokens_from } = reply.value
    return { disabled, tokensNotBefore: tokens_from === null ? null : Date.parse(tokens_from) }
  }
}
