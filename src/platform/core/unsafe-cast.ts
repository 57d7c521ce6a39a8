/**
 * The one cast of the code base: for values whose type the compiler cannot see but whose maker we trust,
 * such as rows that a query's own select list shapes, or a stored answer sent again byte for byte.
 */
export function unsafeCast<T>(value: unknown): T {
  return value as T
}
