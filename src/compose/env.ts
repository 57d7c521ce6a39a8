import { z } from 'zod'
import type { EventConfig } from '../events/config.ts'
import { events } from '../events/module.ts'
import { type IdentityConfig, identityFaults } from '../identity/config.ts'
import { identity } from '../identity/module.ts'
import type { OrchestratorConfig } from '../orchestrator/config.ts'
import { orchestrator } from '../orchestrator/module.ts'
import type { OrderConfig } from '../orders/config.ts'
import { orders } from '../orders/module.ts'
import { oneOf, port, type RawVariables, urlWith } from '../platform/core/variables.ts'
import {
  type DatabaseConfig,
  databaseConfigOf,
  databaseFaults,
  databaseVariables,
} from '../platform/database/config.ts'
import { type HttpConfig, httpConfigOf, httpVariables } from '../platform/http/config.ts'
import type { LoginLimits } from '../platform/http/rate-limit.ts'
import { type IdempotencyConfig, idempotencyConfigOf, idempotencyVariables } from '../platform/idempotency/config.ts'
import { type RpcConfig, rpcConfigOf, rpcVariables } from '../platform/rpc/config.ts'
import {
  type TelemetryConfig,
  telemetryConfigOf,
  telemetryFaults,
  telemetryVariables,
} from '../platform/telemetry/config.ts'
import type { WebhookConfig } from '../webhooks/config.ts'
import { webhooks } from '../webhooks/module.ts'

/** The address of a service. A Lambda function has an address such as `lambda://customers-api-dev`. */
const serviceUrl = urlWith(/^(https?|lambda)$/)

const { HOST, PORT, RATE_LIMIT_PER_MINUTE, ...servingVariables } = httpVariables
const { LOGIN_ATTEMPTS_PER_MINUTE, ...tokenVariables } = identity.variables

/** All variables, in the order in which their faults are listed: addresses first, limits last. */
const Known = z.object({
  NODE_ENV: oneOf('development', 'test', 'production').default('development'),
  HOST,
  PORT,
  CUSTOMERS_PORT: port.default(3001),
  ORDERS_PORT: port.default(3010),
  ORCHESTRATOR_PORT: port.default(3000),
  ...databaseVariables,
  ...tokenVariables,
  CUSTOMERS_API_BASE: serviceUrl.optional(),
  ORDERS_API_BASE: serviceUrl.optional(),
  ...orders.variables,
  ...idempotencyVariables,
  ...events.variables,
  ...webhooks.variables,
  RATE_LIMIT_PER_MINUTE,
  LOGIN_ATTEMPTS_PER_MINUTE,
  ...servingVariables,
  ...rpcVariables,
  ...orchestrator.variables,
  ...telemetryVariables,
})

export interface Env
  extends Omit<IdentityConfig, 'loginAttemptsPerMinute'>,
    Omit<HttpConfig, 'port' | 'trustedProxies'>,
    IdempotencyConfig,
    RpcConfig,
    TelemetryConfig {
  production: boolean
  ports: { own: number | undefined; customers: number; orders: number; orchestrator: number }
  customersBase: string | undefined
  ordersBase: string | undefined
  database: DatabaseConfig
  orders: OrderConfig & Pick<DatabaseConfig, 'lockWaitMs'>
  events: EventConfig
  webhooks: WebhookConfig
  orchestrator: OrchestratorConfig
  logins: LoginLimits
}

/** The names of all variables that {@link parseEnv} reads. */
export const VARIABLES: readonly string[] = Object.keys(Known.shape)

export interface ParseOptions {
  serves?: boolean
  file?: RawVariables
  devDefaults?: RawVariables
}

/** The faults of the environment in one message, a line each. */
export class EnvError extends Error {
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(`The environment is not usable:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`)
    this.name = 'EnvError'
    this.faults = faults
  }
}

/**
 * Reads the environment. An empty variable counts as absent: docker-compose passes unset variables as empty.
 * @param serves whether the program serves callers, and so needs secrets that are fit for production
 * @param file the variables of a `.env`; a variable that is set in the environment wins, even an empty one
 * @param devDefaults values for absent variables, outside production
 * @throws EnvError naming every variable that is wrong, missing, or too weak for production
 */
export function parseEnv(record: RawVariables, options: ParseOptions = {}): Env {
  const { serves = true, file = {}, devDefaults = {} } = options
  // Deno gives a program no list of the variables that it may read, so each is read by its name.
  const entries = VARIABLES.map((name) => [name, record[name] ?? file[name]] as const)
  const set = Object.fromEntries(entries.filter(([, value]) => value !== undefined && value !== ''))
  const given: RawVariables = set.NODE_ENV === 'production' ? set : { ...devDefaults, ...set }
  const parsed = Known.safeParse(given)
  const isStrict = serves && given.NODE_ENV === 'production'
  const faults = [
    ...(parsed.error?.issues ?? []).map((issue) => `${issue.path.join('.')}: ${issue.message}`),
    ...databaseFaults(given),
    ...identityFaults(given, isStrict),
    ...webhooks.faultsOf(given, isStrict),
    ...telemetryFaults(given, isStrict),
  ]
  if (!parsed.success || faults.length > 0) throw new EnvError(faults)
  return envOf(parsed.data)
}

function envOf(vars: z.output<typeof Known>): Env {
  const production = vars.NODE_ENV === 'production'
  const database = databaseConfigOf(vars)
  const { port: own, trustedProxies, ...http } = httpConfigOf(vars, production)
  const { loginAttemptsPerMinute, ...tokens } = identity.configOf(vars)
  return {
    production,
    ports: {
      own,
      customers: vars.CUSTOMERS_PORT,
      orders: vars.ORDERS_PORT,
      orchestrator: vars.ORCHESTRATOR_PORT,
    },
    customersBase: vars.CUSTOMERS_API_BASE,
    ordersBase: vars.ORDERS_API_BASE,
    database,
    ...http,
    ...tokens,
    ...idempotencyConfigOf(vars),
    ...rpcConfigOf(vars),
    ...telemetryConfigOf(vars),
    orders: { ...orders.configOf(vars), lockWaitMs: database.lockWaitMs },
    events: events.configOf(vars),
    webhooks: webhooks.configOf(vars, production),
    orchestrator: orchestrator.configOf(vars, production),
    logins: { attemptsPerMinute: loginAttemptsPerMinute, trustedProxies },
  }
}
