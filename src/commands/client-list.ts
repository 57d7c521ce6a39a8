import { readOptions, runCommand } from '../compose/command-line.ts'
import { openMigratedDatabase, withDatabaseErrors } from '../compose/process.ts'
import { type ClientSummary, listClients } from '../identity/service.ts'

const HELP = `Lists the API clients: what each may do, for which customer, and whether it is disabled. Shows no secrets.

  npm run client:list [-- --json]

  --json  the clients as JSON, for programs`

await runCommand(HELP, async (env) => {
  const { json } = readOptions({ json: { type: 'boolean' } }, HELP)
  const clients = await withDatabaseErrors(env, async () => {
    const db = await openMigratedDatabase(env, { readOnly: true })
    return listClients(db).finally(() => db.destroy())
  })
  console.log(json ? JSON.stringify(clients, null, 2) : clients.map(describe).join('\n\n') || 'There are no clients.')
})

function describe(client: ClientSummary): string {
  const { id, name, scopes, customer_id, created_at, disabled_since, tokens_not_before } = client
  return [
    `${id}  ${name}`,
    `  scopes    ${scopes.join(' ')}`,
    `  customer  ${customer_id ?? 'all'}`,
    `  created   ${created_at}`,
    ...(disabled_since === null ? [] : [`  disabled  since ${disabled_since}`]),
    ...(tokens_not_before === null ? [] : [`  tokens    issued before ${tokens_not_before} are refused`]),
  ].join('\n')
}
