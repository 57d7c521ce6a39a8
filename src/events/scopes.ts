export const EVENT_SCOPES = ['events:read'] as const
