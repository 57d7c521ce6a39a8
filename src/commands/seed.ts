import { connected, openMigratedDatabase, StartError, whereIs } from '../entrypoints/running.ts'
import { seed } from '../platform/migrations.ts'
import { readOptions, runCommand } from './command-line.ts'

const HELP = `Puts the demo data in, each row only where it is missing. Safe to run twice; refused in production.

  npm run seed`

await runCommand(HELP, async (env) => {
  readOptions({}, HELP)
  if (env.production) throw new StartError('The demo data does not belong in production.')
  await connected(env, async () => {
    const db = await openMigratedDatabase(env)
    await seed(db)
    await db.destroy()
    console.log(`The demo data is in ${whereIs(env.database)}.`)
  })
})
