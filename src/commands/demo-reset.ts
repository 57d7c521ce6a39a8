import { askToGoOn, readOptions, runCommand } from '../compose/command-line.ts'
import { findHolding, resetDemoData } from '../compose/demo-data.ts'
import type { Env } from '../compose/env.ts'
import { describeDatabase, withDatabaseErrors } from '../compose/process.ts'
import { migrate } from '../compose/schema.ts'
import { StartError } from '../compose/start-failure.ts'
import { ensureDatabase, openDatabase } from '../platform/database/open.ts'
import type { Database } from '../platform/database/types.ts'

const HELP = `Starts over with the demo data: deletes every row, and puts the demo data in. Refused in production.
An embedded database with the demo data is reset at once. Before any other database is emptied, it asks.

  npm run demo:reset [-- --yes]

  --yes  does not ask`

await runCommand(HELP, async (env) => {
  const { yes = false } = readOptions({ yes: { type: 'boolean' } }, HELP)
  if (env.production) throw new StartError('The demo data does not belong in production.')
  const where = describeDatabase(env.database)
  const question = `This deletes every customer, product, order, key and client in ${where}.`
  const isEmbedded = env.database.host === undefined
  if (!isEmbedded) await askToGoOn(question, yes)
  await withDatabaseErrors(env, async () => {
    const db = await openMigrated(env)
    if (isEmbedded && (await findHolding(db)) === 'other data') await askToGoOn(question, yes)
    await resetDemoData(db)
    await db.destroy()
  })
  console.log(`${where} has the demo data and nothing else.`)
})

async function openMigrated({ database }: Env): Promise<Database> {
  await ensureDatabase(database)
  const db = await openDatabase(database)
  await migrate(db)
  return db
}
