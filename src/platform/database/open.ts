import type { Logger } from '../telemetry/logger.ts'
import { NO_TELEMETRY, type Telemetry } from '../telemetry/telemetry.ts'
import type { DatabaseConfig } from './config.ts'
import { ensureMysqlDatabase, openMysql } from './mysql-open.ts'
import { openSqlite, openSqliteReadOnly } from './sqlite-open.ts'
import { setTelemetry } from './telemetry.ts'
import type { Database } from './types.ts'

/**
 * @param options.readOnly for programs that only read: an embedded file is neither made nor changed, and need not be writable
 * @param options.logger told which of several servers are written
 */
export async function openDatabase(config: DatabaseConfig, options: OpenOptions = {}): Promise<Database> {
  const { telemetry = NO_TELEMETRY } = options
  const db = await open(config, options, telemetry)
  setTelemetry(db, telemetry)
  return db
}

interface OpenOptions {
  readOnly?: boolean
  logger?: Logger
  telemetry?: Telemetry
}

function open(config: DatabaseConfig, { readOnly, logger }: OpenOptions, telemetry: Telemetry): Promise<Database> {
  if (config.host !== undefined) return openMysql(config, logger, telemetry)
  return readOnly ? openSqliteReadOnly(config, telemetry) : openSqlite(config, telemetry)
}

/** Makes the database where the server has none of that name. Only then is the right to do so needed. */
export async function ensureDatabase(config: DatabaseConfig): Promise<void> {
  if (config.host !== undefined) await ensureMysqlDatabase(config)
}
