import { readOptions, runCommand, UsageError } from '../compose/command-line.ts'
import { openMigratedDatabase, withDatabaseErrors } from '../compose/process.ts'
import { StartError } from '../compose/start-failure.ts'
import { rotateSecret } from '../identity/service.ts'

const HELP = `Gives an API client a new secret and prints it, once: only a hash of it is kept.
The old one gets no token from then on, and tokens of before are refused everywhere within a minute.

  npm run client:rotate -- --id client_…

  --id  the client's id`

await runCommand(HELP, async (env) => {
  const { id } = readOptions({ id: { type: 'string' } }, HELP)
  if (!id) throw new UsageError('--id is needed.', HELP)
  await withDatabaseErrors(env, async () => {
    const db = await openMigratedDatabase(env)
    const rotated = await rotateSecret(db, id)
    await db.destroy()
    if (rotated === undefined) throw new StartError(`There is no client ${id}.`)
    console.log(`client_id:     ${id}\nclient_secret: ${rotated.clientSecret}\n\nThe secret is not shown again.`)
    if (rotated.disabledSince !== null) {
      const enable = `npm run client:disable -- --id ${id} --enable`
      console.log(`${id} is disabled since ${rotated.disabledSince}, and gets no token until: ${enable}`)
    }
  })
})
