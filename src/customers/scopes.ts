export const CUSTOMER_SCOPES = ['customers:read', 'customers:write'] as const
