import { sha256 } from '../platform/core/crypto.ts'

/** Earlier versions tried up to so many orders under one key, and counted them. */
const MAX_ATTEMPTS = 5

/**
 * The one key under which Orders knows an order of the orchestrator. Only who knows the caller's key can make it, and it
 * does not tell that key.
 */
export function keyAtOrders(principalId: string, key: string): string {
  return derivedKey(principalId, key, 1)
}

/** The keys under which Orders may know an order that was placed with a caller's key, by this version or one before. */
export function derivedKeys(principalId: string, key: string): string[] {
  return Array.from({ length: MAX_ATTEMPTS }, (_, i) => derivedKey(principalId, key, i + 1))
}

function derivedKey(principalId: string, key: string, attempt: number): string {
  return `create:${sha256(JSON.stringify([principalId, key, attempt]))}`
}

/** The correlation id of a request that brings none: the same for the same request. Shaped like a UUID (RFC 9562, version 8). */
export function correlationIdOf(principalId: string, key: string): string {
  const hash = sha256(JSON.stringify(['correlation id', principalId, key]))
  const part = (from: number, to: number) => hash.slice(from, to)
  return `${part(0, 8)}-${part(8, 12)}-8${part(12, 15)}-8${part(15, 18)}-${part(18, 30)}`
}
