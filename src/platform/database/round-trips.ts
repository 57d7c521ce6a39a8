import type { CompiledQuery } from 'kysely'
import { failureOf } from '../telemetry/failed-span.ts'
import type { Span } from '../telemetry/spans.ts'
import { onConnection } from './pipeline.ts'
import { firstWordOf } from './statement-timer.ts'
import type { Database } from './types.ts'

/** As the semantic conventions for databases name the engines. MariaDB and TiDB are not told from MySQL. */
export type DatabaseSystem = 'mysql' | 'sqlite'

/** From the semantic conventions. */
const MAX_SUMMARY_CHARS = 255

/** The span of one attempt of a transaction; undefined where nothing is recorded. */
export function startTransaction(parent: Span | undefined): Span | undefined {
  return parent?.isRecorded ? parent.startChild('transaction') : undefined
}

/** Shows what a transaction sends as steps of this span. */
export function traceRoundTrips(trx: Database, span: Span): Promise<void> {
  return onConnection(trx, async (connection) => {
    connection.span = span
  })
}

/** The span of statements that are sent together; undefined where nothing is recorded. Values are never part of it. */
export function startRoundTrip(
  parent: Span | undefined,
  system: DatabaseSystem,
  queries: readonly CompiledQuery[],
): Span | undefined {
  if (!parent?.isRecorded) return undefined
  const summary = queries.map(({ sql }) => summaryOf(sql)).join('; ')
  const attributes = {
    'db.system.name': system,
    'db.query.summary': summary.slice(0, MAX_SUMMARY_CHARS),
    ...(queries.length > 1 && { 'db.operation.batch.size': queries.length }),
  }
  return parent.startChild(attributes['db.query.summary'], { kind: 'client', attributes })
}

/** Shows work as one round trip. Without a span it costs nothing. */
export function traced<T>(
  parent: Span | undefined,
  system: DatabaseSystem,
  queries: readonly CompiledQuery[],
  work: () => Promise<T>,
): Promise<T> {
  const span = startRoundTrip(parent, system, queries)
  return span === undefined ? work() : endingWith(span, work())
}

async function endingWith<T>(span: Span, work: Promise<T>): Promise<T> {
  try {
    const result = await work
    span.end()
    return result
  } catch (error) {
    span.end(failureOf(error))
    throw error
  }
}

const TABLE = /\b(?:from|into|update)\s+[`"]?([a-z_]+)/i

/** What a statement does, and to which table: `select orders`. */
export function summaryOf(sql: string): string {
  const [, table = ''] = TABLE.exec(sql) ?? []
  return `${firstWordOf(sql)} ${table.toLowerCase()}`.trim()
}
