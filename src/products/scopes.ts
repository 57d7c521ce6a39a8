export const PRODUCT_SCOPES = ['products:read', 'products:write'] as const
