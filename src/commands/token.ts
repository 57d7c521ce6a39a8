import { readOptions, readPositive, readScopes, runCommand } from '../compose/command-line.ts'
import { SCOPES } from '../compose/modules.ts'
import { StartError } from '../compose/start-failure.ts'
import { signToken } from '../identity/service.ts'

const HELP = `Prints a token for development, signed with JWT_SECRET. Nothing is looked up.

  npm run --silent token -- [--scope "orders:read orders:write"] [--customer-id 1] [--client demo] [--minutes 60]

  --scope        the scopes in it, separated by spaces; absent, all of them
  --customer-id  the customer it is bound to
  --client       the client it names; absent, demo
  --minutes      how long it is good for; absent, 60`

await runCommand(HELP, async (env) => {
  const options = {
    scope: { type: 'string' },
    'customer-id': { type: 'string' },
    client: { type: 'string', default: 'demo' },
    minutes: { type: 'string', default: '60' },
  } as const
  const { scope, client, minutes, 'customer-id': customer } = readOptions(options, HELP)
  if (env.production) throw new StartError('In production, tokens come from POST /auth/token.')
  const scopes = scope === undefined ? SCOPES : readScopes(scope, HELP)
  const ttlSeconds = (readPositive(minutes, '--minutes', HELP) ?? 60) * 60
  const customerId = readPositive(customer, '--customer-id', HELP) ?? null
  const token = await signToken({ ...env.jwt, ttlSeconds }, { clientId: client, scope: scopes.join(' '), customerId })
  console.log(token.access_token)
})
