import { defineErrors } from '../platform/core/errors.ts'

export const EVENT_ERRORS = defineErrors({
  cursor_expired: {
    status: 410,
    title: 'Events after this cursor are deleted',
    example: { oldest_cursor: 'WyJldmVudHMiLDQyXQ' },
  },
})
