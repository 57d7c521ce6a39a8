import { connected, run, StartError, whereIs } from '../entrypoints/running.ts'
import { openDatabase } from '../platform/database.ts'
import { seed } from '../platform/migrations.ts'

await run(async (env) => {
  if (env.production) throw new StartError('The demo data does not belong in production.')
  await connected(env, async () => {
    const db = await openDatabase(env.database)
    await seed(db)
    await db.destroy()
    console.log(`The demo data is in ${whereIs(env.database)}.`)
  })
})
