import { readOptions, runCommand } from '../compose/command-line.ts'
import { describeDatabase, withDatabaseErrors } from '../compose/process.ts'
import { migrate } from '../compose/schema.ts'
import { ensureDatabase, openDatabase } from '../platform/database/open.ts'

const HELP = `Brings the database to the newest schema, and makes it where it is not there. Safe to run twice.

  npm run migrate`

await runCommand(HELP, async (env) => {
  readOptions({}, HELP)
  await withDatabaseErrors(env, async () => {
    await ensureDatabase(env.database)
    const db = await openDatabase(env.database)
    const done = await migrate(db)
    await db.destroy()
    console.log(
      done.length > 0
        ? `Migrated ${describeDatabase(env.database)}: ${done.join(', ')}`
        : `${describeDatabase(env.database)} is up to date.`,
    )
  })
})
