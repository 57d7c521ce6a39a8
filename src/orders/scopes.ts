export const ORDER_SCOPES = ['orders:read', 'orders:write', 'support:read'] as const

/** What another service may do with its token on the routes of callers. */
export const SERVICE_SCOPES = ['orders:read', 'orders:write'] as const satisfies (typeof ORDER_SCOPES)[number][]
