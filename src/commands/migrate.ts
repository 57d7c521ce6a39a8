import { connected, run, whereIs } from '../entrypoints/running.ts'
import { ensureDatabase, openDatabase } from '../platform/database.ts'
import { migrate } from '../platform/migrations.ts'

await run(async (env) => {
  await connected(env, async () => {
    await ensureDatabase(env.database)
    const db = await openDatabase(env.database)
    const done = await migrate(db)
    await db.destroy()
    console.log(
      done.length > 0
        ? `Migrated ${whereIs(env.database)}: ${done.join(', ')}`
        : `${whereIs(env.database)} is up to date.`,
    )
  })
})
