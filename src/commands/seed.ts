import { readOptions, runCommand } from '../compose/command-line.ts'
import { type Holding, seed } from '../compose/demo-data.ts'
import { describeDatabase, openMigratedDatabase, withDatabaseErrors } from '../compose/process.ts'
import { StartError } from '../compose/start-failure.ts'

const HELP = `Puts the demo data into an empty database; never changes one that has rows. Refused in production.
Safe to run twice, and from two machines at once. Exits with 1 when the database has rows of its own.

  npm run seed [-- --if-empty]

  --if-empty  exits with 0 also when the database has rows of its own`

await runCommand(HELP, async (env) => {
  const { 'if-empty': ifEmpty } = readOptions({ 'if-empty': { type: 'boolean' } }, HELP)
  if (env.production) throw new StartError('The demo data does not belong in production.')
  const where = describeDatabase(env.database)
  const held = await withDatabaseErrors(env, async () => {
    const db = await openMigratedDatabase(env)
    const holding = await seed(db)
    await db.destroy()
    return holding
  })
  if (held === 'other data' && !ifEmpty) throw new StartError(`${outcomeOf(held, where)}\nUse another database.`)
  console.log(outcomeOf(held, where))
})

function outcomeOf(held: Holding, where: string): string {
  if (held === 'nothing') return `The demo data is in ${where}.`
  if (held === 'demo data') return `The demo data was in ${where} already. Nothing was changed.`
  return `${where} has rows of its own. Nothing was changed: the demo data goes into an empty database only.`
}
