export const ORDER_SCOPES = ['orders:read', 'orders:write', 'support:read'] as const
