import { sha256 } from '../platform/core/crypto.ts'

/** Earlier versions made up to five attempts with one key, and numbered them. */
const MAX_ATTEMPTS = 5

/**
 * The key under which Orders knows an order of the orchestrator. It can be made only from the caller's key, and does
 * not reveal that key.
 */
export function keyAtOrders(principalId: string, key: string): string {
  return derivedKey(principalId, key, 1)
}

/** The keys under which this version or an earlier one may have placed an order for a caller's key. */
export function derivedKeys(principalId: string, key: string): string[] {
  return Array.from({ length: MAX_ATTEMPTS }, (_, i) => derivedKey(principalId, key, i + 1))
}

function derivedKey(principalId: string, key: string, attempt: number): string {
  return `create:${sha256(JSON.stringify([principalId, key, attempt]))}`
}

/**
 * The correlation id of a request without one: equal requests get equal ids. The id is shaped like a UUID (RFC 9562,
 * version 8).
 */
export function correlationIdOf(principalId: string, key: string): string {
  const hash = sha256(JSON.stringify(['correlation id', principalId, key]))
  const part = (from: number, to: number) => hash.slice(from, to)
  return `${part(0, 8)}-${part(8, 12)}-8${part(12, 15)}-8${part(15, 18)}-${part(18, 30)}`
}
