import { sql } from 'kysely'
import { readOptions, runCommand, UsageError } from '../compose/command-line.ts'
import { describeDatabase, openMigratedDatabase, withDatabaseErrors } from '../compose/process.ts'
import { StartError } from '../compose/start-failure.ts'
import { randomSecret } from '../platform/core/crypto.ts'
import type { Database } from '../platform/database/types.ts'

const HELP = `Makes the database user that the services work as: it reads and writes rows, and may not change the schema. Safe to run
twice; what it may do already, it keeps. Run it as a user that may make users (DB_USER, DB_PASS).

  npm run database:user -- --name b2b [--password …]

  --name      the user, of this database alone
  --password  its password; without it one is made, and printed once`

await runCommand(HELP, async (env) => {
  const { name, password } = readOptions({ name: { type: 'string' }, password: { type: 'string' } }, HELP)
  if (!name) throw new UsageError('--name is needed.', HELP)
  if (env.database.host === undefined) throw new StartError('The embedded database has no users: set DB_HOST.')
  if (name === env.database.user) throw new StartError(`${name} is the user that this runs as: choose another.`)
  const secret = password || randomSecret()
  await withDatabaseErrors(env, async () => {
    const db = await openMigratedDatabase(env)
    await makeUser(db, { name, password: secret, database: env.database.name })
    await db.destroy()
  })
  console.log(`${name} may read and write rows in ${describeDatabase(env.database)}.`)
  if (!password) console.log(`DB_PASS: ${secret}\n\nThe password is not shown again.`)
})

interface User {
  name: string
  password: string
  database: string
}

async function makeUser(db: Database, { name, password, database }: User): Promise<void> {
  await sql`create user if not exists ${name}@'%' identified by ${password}`.execute(db)
  await sql`alter user ${name}@'%' identified by ${password}`.execute(db)
  await sql`grant select, insert, update, delete on ${patternOf(database)} to ${name}@'%'`.execute(db)
}

/** All tables of a database, as `grant` names them. An unescaped underscore in a grant stands for any character. */
function patternOf(database: string) {
  return sql.raw(`\`${database.replaceAll('`', '``').replace(/[_%\\]/g, '\\$&')}\`.*`)
}
