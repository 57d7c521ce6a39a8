import type { Logger } from '../telemetry/logger.ts'
import type { DatabaseConfig } from './config.ts'
import { ensureMysqlDatabase, openMysql } from './mysql-open.ts'
import { openSqlite, openSqliteReadOnly } from './sqlite-open.ts'
import type { Database } from './types.ts'

/**
 * @param options.readOnly for programs that only read: an embedded file is neither made nor changed, and need not be writable
 * @param options.logger told which of several servers are written
 */
export function openDatabase(
  config: DatabaseConfig,
  { readOnly = false, logger }: { readOnly?: boolean; logger?: Logger } = {},
): Promise<Database> {
  if (config.host !== undefined) return openMysql(config, logger)
  return readOnly ? openSqliteReadOnly(config) : openSqlite(config)
}

/** Makes the database where the server has none of that name. Only then is the right to do so needed. */
export async function ensureDatabase(config: DatabaseConfig): Promise<void> {
  if (config.host !== undefined) await ensureMysqlDatabase(config)
}
