import { readOptions, runCommand, UsageError } from '../compose/command-line.ts'
import { openMigratedDatabase, withDatabaseErrors } from '../compose/process.ts'
import { StartError } from '../compose/start-failure.ts'
import { disableClient, enableClient } from '../identity/service.ts'
import type { Database } from '../platform/database/types.ts'

const HELP = `Disables an API client: it gets no token from then on.
Those that it has are refused everywhere within a minute.

  npm run client:disable -- --id client_… [--enable]

  --id      the client's id
  --enable  lets it get tokens again, with the secret that it has; tokens of before stay refused`

await runCommand(HELP, async (env) => {
  const { id, enable } = readOptions({ id: { type: 'string' }, enable: { type: 'boolean' } }, HELP)
  if (!id) throw new UsageError('--id is needed.', HELP)
  await withDatabaseErrors(env, async () => {
    const db = await openMigratedDatabase(env)
    const done = await (enable ? enabled(db, id) : disabled(db, id))
    await db.destroy()
    if (done === undefined) throw new StartError(`There is no client ${id}.`)
    console.log(done)
  })
})

async function enabled(db: Database, id: string): Promise<string | undefined> {
  const client = await enableClient(db, id)
  if (client === undefined) return undefined
  return client.disabledSince === null ? `${id} was not disabled. Nothing was changed.` : `${id} may get tokens.`
}

async function disabled(db: Database, id: string): Promise<string | undefined> {
  const client = await disableClient(db, id)
  if (client === undefined) return undefined
  if (!client.before) return `${id} is disabled since ${client.since}.`
  return `${id} was disabled already, since ${client.since}. Every token that it has is refused within a minute.`
}
