/**
 * The tables in the order in which every transaction of orders locks their rows, each by ascending ids: transactions that
 * want the same rows then wait for each other instead of deadlocking. Customers come after products, because the foreign
 * key of a new order locks its customer when the order is written. Keys are sorted by themselves.
 */
export const LOCK_ORDER = ['orders', 'products', 'customers', 'idempotency_keys'] as const
