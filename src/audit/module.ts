export const audit = { name: 'audit', scopes: [], errors: {} } as const
