/** What Webhooks tells others. */
export const WEBHOOK_EVENTS = ['webhook_endpoint.disabled'] as const
