import { sha256 } from '../platform/hash.ts'

/**
 * The one key under which Orders knows an order of the orchestrator. Only who knows the caller's key can make it, and it
 * does not tell that key.
 */
export function keyAtOrders(principalId: string, key: string): string {
  // Versions that tried several orders under one key counted them: theirs was the first.
  return `create:${sha256(JSON.stringify([principalId, key, 1]))}`
}

/** The correlation id of a request that brings none: the same for the same request. Shaped like a UUID (RFC 9562, version 8). */
export function correlationIdOf(principalId: string, key: string): string {
  const hash = sha256(JSON.stringify(['correlation id', principalId, key]))
  const part = (from: number, to: number) => hash.slice(from, to)
  return `${part(0, 8)}-${part(8, 12)}-8${part(12, 15)}-8${part(15, 18)}-${part(18, 30)}`
}
