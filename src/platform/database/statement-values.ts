// The values of a statement: which of them may be sent, and how errors are kept from showing them.

const MAX_LOGGED_SQL = 2_000
/** Shorter texts identify nobody, and occur inside other words. */
const MIN_HIDDEN_LENGTH = 3

/**
 * Refuses values that are not plain. Drivers expand an object or a list into several values, or into columns and values,
 * which changes the meaning of the statement.
 */
export function requirePlainValues(values: readonly unknown[]): void {
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
 * Removes the values from a statement's error: errors are logged, and values may be personal data.
 * @param sql the statement's text, with `?` for its values
 */
export function hideValues(error: Error & StatementError, sql: string, values: readonly unknown[]): void {
  const { message } = error
  const hidden = withoutValues(message, values)
  error.message = hidden
  if (error.stack !== undefined) error.stack = error.stack.replace(message, () => hidden)
  if (error.sqlMessage !== undefined) error.sqlMessage = hidden
  if (error.sql !== undefined) error.sql = sql.slice(0, MAX_LOGGED_SQL)
}

/** The index's name stays: it says which value is taken. */
const DUPLICATE = /^Duplicate entry .* for key '([^']*)'$/s
/** Quotations of a value or of the statement. The name of a column stays. */
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
