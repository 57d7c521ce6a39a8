export const ORDER_SCOPES = ['orders:read', 'orders:write', 'support:read'] as const

/** The scopes of a service token on the routes for callers. */
export const SERVICE_SCOPES = ['orders:read', 'orders:write'] as const satisfies (typeof ORDER_SCOPES)[number][]
