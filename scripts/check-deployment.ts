// Checks whether this environment may be deployed from. If not, it prints every fault and exits with 1. Secrets must
// meet the rules of a start in production.
import { EnvError, parseEnv } from '../src/compose/env.ts'
import { randomSecret } from '../src/platform/core/crypto.ts'

const ABSOLUTE_PATH = /^(\/[\w.-]+)+$/
const WHERE_SECRETS_ARE = `The functions read their secrets from SSM when they start; none is written into the template.
Set SECRETS_SSM_PATH to where they are, such as /b2b-orders/dev, or put real ones into the environment or into .env.
How to make them: docs/deploy.md, "Secrets".`

const given = Object.fromEntries(Object.entries(process.env).filter(([, value]) => value !== ''))
const path = given.SECRETS_SSM_PATH

const faults = [...faultsOfKind(), ...faultsOfPath(), ...faultsOfVariables()]
if (faults.length > 0) {
  console.error(`${new EnvError(faults).message}${path === undefined ? `\n${WHERE_SECRETS_ARE}` : ''}`)
  process.exit(1)
}

function faultsOfKind(): string[] {
  const { NODE_ENV } = given
  return NODE_ENV === 'production' ? [] : [`NODE_ENV: is ${NODE_ENV}; only production is deployed, so leave it out`]
}

function faultsOfPath(): string[] {
  return path === undefined || ABSOLUTE_PATH.test(path) ? [] : ['SECRETS_SSM_PATH: must be a path like /b2b-orders/dev']
}

/** Secrets that SSM holds may be missing here. Secrets that are set here must be strong enough all the same. */
function faultsOfVariables(): readonly string[] {
  const elsewhere = path === undefined ? {} : { SERVICE_TOKEN: randomSecret(), JWT_SECRET: randomSecret() }
  try {
    parseEnv({ ...elsewhere, ...given, NODE_ENV: 'production' })
    return []
  } catch (error) {
    if (error instanceof EnvError) return error.faults
    throw error
  }
}
