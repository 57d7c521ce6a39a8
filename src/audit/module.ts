export const audit = { name: 'audit', scopes: [], errors: {}, tables: [] } as const
