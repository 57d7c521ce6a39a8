import { AUDIT_GAUGES } from './metrics.ts'
import { AUDIT_TABLES } from './tables.ts'

export const audit = {
  name: 'audit',
  scopes: [],
  errors: {},
  tables: [],
  notes: AUDIT_TABLES,
  gauges: AUDIT_GAUGES,
} as const
