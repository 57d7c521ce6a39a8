export const WEBHOOK_SCOPES = ['webhooks:read', 'webhooks:write'] as const
