import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { sql } from 'kysely'
import { parseEnv } from '../src/compose/env.ts'
import { migrate } from '../src/compose/schema.ts'
import { ensureDatabase, openDatabase } from '../src/platform/database/open.ts'
import { HOW_TO_GET_A_SERVER, startDatabaseServer } from '../testing/database-server.ts'
import { createProgram } from './program.ts'
import { schemaText } from './schema-text.ts'

const { readNothing } =
  createProgram(`Writes db/schema.sql anew: migrates a new database on a MySQL or MariaDB server, and reads back what came of it.

  npm run schema

It needs a server, as the tests do.`)

readNothing()
const server = await startDatabaseServer()
if (server === undefined) {
  console.error(HOW_TO_GET_A_SERVER)
  process.exit(1)
}
try {
  const { database: config } = parseEnv({
    DB_HOST: server.host,
    DB_PORT: String(server.port),
    DB_USER: server.user,
    DB_PASS: server.password,
    DB_NAME: `b2b_schema_${randomBytes(6).toString('hex')}`,
  })
  await ensureDatabase(config)
  const db = await openDatabase(config)
  try {
    await migrate(db)
    writeFileSync(new URL('../db/schema.sql', import.meta.url), await schemaText(db))
    console.log(`Wrote db/schema.sql from the migrations, as ${server.version} has them.`)
  } finally {
    await sql`drop database ${sql.id(config.name)}`.execute(db)
    await db.destroy()
  }
} finally {
  await server.stop()
}
