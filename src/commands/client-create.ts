import { randomBytes } from 'node:crypto'
import { readOptions, readPositive, readScopes, runCommand, UsageError } from '../compose/command-line.ts'
import { openMigratedDatabase, withDatabaseErrors } from '../compose/process.ts'
import { StartError } from '../compose/start-failure.ts'
import { findCustomer } from '../customers/store.ts'
import { createClient } from '../identity/service.ts'

const HELP = `Makes an API client and prints its secret, once: only a hash of it is kept.

  npm run client:create -- --name "ERP of ACME" --scope "orders:read orders:write" [--customer-id 1]

  --name         what people call it
  --scope        the scopes it may have, separated by spaces
  --customer-id  binds it to one customer: it sees and places only that customer's orders`

const MAX_NAME = 200

/** These scopes cover more than one customer, so a bound client has no use for them. */
const UNBOUND_SCOPES = ['customers:write', 'products:write', 'support:read']

await runCommand(HELP, async (env) => {
  const options = { name: { type: 'string' }, scope: { type: 'string' }, 'customer-id': { type: 'string' } } as const
  const { name, scope, 'customer-id': customer } = readOptions(options, HELP)
  if (!name || !scope) throw new UsageError('--name and --scope are needed.', HELP)
  if (name.length > MAX_NAME) throw new UsageError(`--name may have ${MAX_NAME} characters at most.`, HELP)
  const scopes = readScopes(scope, HELP)
  const customerId = readPositive(customer, '--customer-id', HELP) ?? null
  const unfit = customerId === null ? [] : scopes.filter((known) => UNBOUND_SCOPES.includes(known))
  if (unfit.length > 0) throw new UsageError(`A client bound to a customer can't have: ${unfit.join(', ')}.`, HELP)

  await withDatabaseErrors(env, async () => {
    const db = await openMigratedDatabase(env)
    if (customerId !== null && (await findCustomer(db, customerId)) === undefined) {
      throw new StartError(`There is no customer ${customerId}.`)
    }
    const id = `client_${randomBytes(9).toString('base64url')}`
    const { clientSecret } = await createClient(db, { id, name, scopes, customerId })
    await db.destroy()
    console.log(`client_id:     ${id}\nclient_secret: ${clientSecret}\n\nThe secret is not shown again.`)
  })
})
