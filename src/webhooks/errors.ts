import { defineErrors } from '../platform/core/errors.ts'

export const WEBHOOK_ERRORS = defineErrors({
  url_not_allowed: { status: 422, title: 'Webhooks may not be sent to this URL' },
  too_many_endpoints: { status: 409, title: 'There are too many webhook endpoints', example: { max_endpoints: 50 } },
  rotation_in_progress: {
    status: 409,
    title: 'The old secret still signs',
    example: { old_secret_until: '2026-01-08T09:00:00.000Z' },
  },
})
