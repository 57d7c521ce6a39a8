/**
 * The one cast of the code base: for values whose type the compiler cannot see but we can rely on, such as rows shaped by a
 * query's select list, or a stored response.
 */
export function unsafeCast<T>(value: unknown): T {
  return value as T
}
