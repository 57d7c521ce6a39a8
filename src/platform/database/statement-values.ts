// The values of a statement: which of them are sent, and that an error tells none.

const MAX_LOGGED_SQL = 2_000
/** Shorter texts name nobody, and are part of other words. */
const MIN_HIDDEN_LENGTH = 3

/**
 * Only plain values become part of a statement. Drivers write an object or a list as several values, or as columns and
 * values, which changes what the statement means.
 */
export function refuseOddValues(values: readonly unknown[]): void {
  for (const value of values) if (!isPlain(value)) throw new TypeError(`a statement can't carry ${kindOf(value)}`)
}

function isPlain(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  return value === null || typeof value === 'string' || typeof value === 'bigint' || typeof value === 'boolean'
}

function kindOf(value: unknown): string {
  if (typeof value === 'number') return String(value)
  return Array.isArray(value) ? 'a list' : `a value of type ${typeof value}`
}

/** What a driver adds to its errors. */
interface StatementError {
  sql?: string
  sqlMessage?: string
}

/**
 * Takes the values out of an error of a statement: they are names and e-mail addresses of others, and errors are logged.
 * @param sql the statement's text, with `?` in the place of its values
 */
export function hideValues(error: Error & StatementError, sql: string, values: readonly unknown[]): void {
  const { message } = error
  const hidden = withoutValues(message, values)
  error.message = hidden
  if (error.stack !== undefined) error.stack = error.stack.replace(message, () => hidden)
  if (error.sqlMessage !== undefined) error.sqlMessage = hidden
  if (error.sql !== undefined) error.sql = sql.slice(0, MAX_LOGGED_SQL)
}

/** The index's name must stay: it says what was taken. */
const DUPLICATE = /^Duplicate entry .* for key '([^']*)'$/s
/** What servers quote from a value or from the statement; the name of a column stays. */
const QUOTED_FOR_COLUMN = /\bvalue:? '.*'(?= for (?:column|function) )/s
const QUOTED = /\b(?:value:?|near|string|argument) '.*'(?= (?:at|in|of) |$)/s

function withoutValues(message: string, values: readonly unknown[]): string {
  const [, index] = DUPLICATE.exec(message) ?? []
  if (index !== undefined) return `Duplicate entry '?' for key '${index}'`
  const pattern = QUOTED_FOR_COLUMN.test(message) ? QUOTED_FOR_COLUMN : QUOTED
  const masked = message.replace(pattern, (quoted) => quoted.replace(/'.*'/s, () => "'?'"))
  const texts = values.filter((value) => typeof value === 'string' && value.length >= MIN_HIDDEN_LENGTH)
  return texts.reduce<string>((text, value) => text.replaceAll(String(value), () => '?'), masked)
}
