import { NO_METRICS, secondsSince } from '../telemetry/metrics.ts'
import { DATABASE_OPERATION_SECONDS } from '../telemetry/series.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'

const OPERATIONS = new Set(['select', 'insert', 'update', 'delete', 'begin', 'commit', 'rollback'])
/** The first word after comments: time limits are in comments. */
const FIRST_WORD = /^\s*(?:\/\*.*?\*\/\s*)*([a-z]+)/i

export function firstWordOf(sql: string): string {
  const [, word = ''] = FIRST_WORD.exec(sql) ?? []
  return word.toLowerCase()
}

/** What a statement does, in a word of a short list. */
export function operationOf(sql: string): string {
  const operation = firstWordOf(sql)
  return OPERATIONS.has(operation) ? operation : 'other'
}

/** @returns tells the time of a statement since `start`, a moment of `performance.now()` */
export function createStatementTimer({ metrics }: Telemetry): (sql: string, start: number) => void {
  // Off, not even the operation is looked for.
  if (metrics === NO_METRICS) return () => {}
  return (sql, start) => metrics.histogram(DATABASE_OPERATION_SECONDS, operationOf(sql))(secondsSince(start))
}
