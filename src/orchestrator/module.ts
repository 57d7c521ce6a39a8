export const orchestrator = { name: 'orchestrator', scopes: [], errors: {} } as const
