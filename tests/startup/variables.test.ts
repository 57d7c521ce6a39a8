import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { VARIABLES } from '../../src/compose/env.ts'

// Every variable of src/compose/env.ts reaches every deployment, or is listed below with the reason why not. `*` at
// the end means every variable with that prefix.

type Reasons = Record<string, string>

const GATEWAY = "requests come as the gateway's events"
const CALLS_NOBODY = 'it calls no service'
const NO_DATABASE = 'it has no database'
const OF_ANOTHER = 'it is of another service'
const FROM_SSM = 'the function reads it from SSM'
const NO_SCRAPES = 'nothing scrapes a function'
const OF_SWEEP = 'the function sweep deletes events'
const OF_EVENTS = 'the function events sends webhooks'

const OUTSIDE_COMPOSE: Reasons = {
  CUSTOMERS_PORT: 'PORT says it',
  ORDERS_PORT: 'PORT says it',
  ORCHESTRATOR_PORT: 'PORT says it',
  DB_PORT: "inside the stack it is MySQL's own; MYSQL_PORT is the one outside",
  DB_FILE: 'the database is a server',
  DB_SOCKET: 'the database is in another container',
  DB_TLS: 'the database is in the same network of one machine',
}

const COMPOSE: Record<string, Reasons> = {
  'customers-api': { ...OUTSIDE_COMPOSE, CUSTOMERS_API_BASE: CALLS_NOBODY, ORDERS_API_BASE: CALLS_NOBODY },
  'orders-api': { ...OUTSIDE_COMPOSE, ORDERS_API_BASE: 'it is that service' },
  orchestrator: OUTSIDE_COMPOSE,
}

const OUTSIDE_LAMBDA: Reasons = {
  'METRICS_*': NO_SCRAPES,
  HOST: GATEWAY,
  PORT: GATEWAY,
  CUSTOMERS_PORT: GATEWAY,
  ORDERS_PORT: GATEWAY,
  ORCHESTRATOR_PORT: GATEWAY,
  REQUEST_TIMEOUT_MS: GATEWAY,
  KEEP_ALIVE_MS: GATEWAY,
  STALL_TIMEOUT_MS: GATEWAY,
  TRUSTED_PROXIES: GATEWAY,
  MAX_CONNECTIONS: GATEWAY,
  MAX_BODY_BYTES_IN_FLIGHT: GATEWAY,
  ORDER_SWEEP_SECONDS: 'a schedule calls the sweep',
  EVENTS_RETENTION_DAYS: 'the sweep removes old events',
}

const ON_DISK: Reasons = {
  DB_FILE: 'there is no disk to keep it on',
  DB_SOCKET: 'there is no server on that machine',
}

const LAMBDA: Record<string, Reasons> = {
  orchestrator: {
    ...OUTSIDE_LAMBDA,
    SERVICE_TOKEN: FROM_SSM,
    JWT_SECRET: FROM_SSM,
    'DB_*': NO_DATABASE,
    JWT_TTL_SECONDS: 'it gives no tokens',
    LOGIN_ATTEMPTS_PER_MINUTE: 'it gives no tokens',
    'ORDER_*': OF_ANOTHER,
    MAX_HOLD_MINUTES: OF_ANOTHER,
    MAX_OPEN_HOLDS: OF_ANOTHER,
    CANCEL_WINDOW_MINUTES: OF_ANOTHER,
    TIME_ZONE: OF_ANOTHER,
    CURRENCY: OF_ANOTHER,
    IDEMPOTENCY_TTL_HOURS: OF_ANOTHER,
    EVENTS_RETENTION_DAYS: OF_ANOTHER,
    'WEBHOOK_*': OF_ANOTHER,
  },
  customers: {
    ...OUTSIDE_LAMBDA,
    ...ON_DISK,
    SERVICE_TOKEN: FROM_SSM,
    JWT_SECRET: FROM_SSM,
    DB_PASS: FROM_SSM,
    CUSTOMERS_API_BASE: CALLS_NOBODY,
    ORDERS_API_BASE: CALLS_NOBODY,
    HTTP_TIMEOUT_MS: CALLS_NOBODY,
    'ORDER_*': OF_ANOTHER,
    MAX_HOLD_MINUTES: OF_ANOTHER,
    MAX_OPEN_HOLDS: OF_ANOTHER,
    CANCEL_WINDOW_MINUTES: OF_ANOTHER,
    TIME_ZONE: OF_ANOTHER,
    CURRENCY: OF_ANOTHER,
    EVENTS_RETENTION_DAYS: OF_ANOTHER,
    'WEBHOOK_*': OF_ANOTHER,
    'ORCHESTRATOR_*': OF_ANOTHER,
  },
  orders: {
    ...OUTSIDE_LAMBDA,
    ...ON_DISK,
    SERVICE_TOKEN: FROM_SSM,
    JWT_SECRET: FROM_SSM,
    DB_PASS: FROM_SSM,
    ORDERS_API_BASE: 'it is that service',
    EVENTS_RETENTION_DAYS: OF_SWEEP,
    WEBHOOK_KEYS: FROM_SSM,
    WEBHOOK_DISABLE_AFTER_HOURS: OF_EVENTS,
    'ORCHESTRATOR_*': OF_ANOTHER,
  },
}

/** The only variables of the functions that serve no outside callers. */
const LAMBDA_INSIDE: Record<string, RegExp> = {
  sweep: /^(NODE_ENV|LOG_LEVEL|DB_(?!FILE$|PASS$|SOCKET$)\w+|EVENTS_RETENTION_DAYS)$/,
  events: /^(NODE_ENV|LOG_LEVEL|DB_(?!FILE$|PASS$|SOCKET$)\w+|WEBHOOK_(?!KEYS$)\w+)$/,
  docs: /^(NODE_ENV|LOG_LEVEL)$/,
}

interface Environment {
  environment?: Record<string, string>
  container_name?: string
  ports?: string[]
}

const compose: { services: Record<string, Environment> } = readYaml('docker-compose.yml')
const serverless: { provider: Environment; functions: Record<string, Environment> } = readYaml('serverless.yml')

function readYaml(file: string) {
  // The tags are CloudFormation's; no value read here has one.
  return parse(readFileSync(file, 'utf8'), { merge: true, logLevel: 'error' })
}

/** The variables of a function: its own and the shared ones. */
function ofFunction(name: string): string[] {
  return Object.keys({ ...serverless.provider.environment, ...serverless.functions[name]?.environment })
}

const fits = (name: string, pattern: string) =>
  pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern

/** Variables neither passed nor explained, both passed and explained, or unknown. */
function gaps(passed: readonly string[], reasons: Reasons) {
  const isOut = (name: string) => Object.keys(reasons).some((pattern) => fits(name, pattern))
  return {
    missing: VARIABLES.filter((name) => !passed.includes(name) && !isOut(name)),
    needless: Object.keys(reasons).filter(
      (pattern) => !VARIABLES.some((name) => fits(name, pattern)) || passed.some((name) => fits(name, pattern)),
    ),
  }
}

const NONE = { missing: [], needless: [] }
const remedy = (file: string) =>
  `pass it in ${file}, or say in tests/startup/variables.test.ts why it means nothing there`

describe('docker-compose.yml', () => {
  it.each(Object.entries(COMPOSE))('when %s is started, then it has every variable', (name, reasons) => {
    const passed = Object.keys(compose.services[name]?.environment ?? {})
    expect(gaps(passed, reasons), remedy('x-environment')).toEqual(NONE)
  })

  it('when its ports are read, then all are published on this machine alone', () => {
    const lines = readFileSync('docker-compose.yml', 'utf8').match(/^ +- "[^"]*:\d+"$/gm) ?? []
    expect(lines).toHaveLength(4)
    for (const line of lines) expect(line).toMatch(/"127\.0\.0\.1:/)
  })

  it('when a second stack is needed, then its ports and container name can be set', () => {
    const services = Object.values(compose.services)
    const names = services.flatMap(({ container_name: name }) => (name === undefined ? [] : [name]))
    expect(names).toEqual([expect.stringMatching(/^\$\{MYSQL_CONTAINER:-mysql_db\}$/)])
    for (const port of services.flatMap(({ ports = [] }) => ports)) {
      expect(port).toMatch(/^127\.0\.0\.1:\$\{[A-Z_]+:-\d+\}:\d+$/)
    }
  })

  it('when the database users are read, then only the migration works as root', () => {
    const userOf = (name: string) => compose.services[name]?.environment?.DB_USER
    expect(userOf('migrate')).toBe('root')
    for (const name of Object.keys(COMPOSE)) expect(userOf(name)).toMatch(/DB_USER:-b2b\b/)
  })
})

describe('serverless.yml', () => {
  it.each(Object.entries(LAMBDA))('when the function %s is deployed, then it has every variable', (name, reasons) => {
    expect(gaps(ofFunction(name), reasons), remedy('a group of variables in `custom`')).toEqual(NONE)
  })

  it.each(Object.entries(LAMBDA_INSIDE))('when the function %s is deployed, then it has only these', (name, inside) => {
    const passed = ofFunction(name).filter((variable) => variable !== 'SSM_PARAMETERS')
    expect(passed.sort()).toEqual(VARIABLES.filter((variable) => inside.test(variable)).sort())
  })
})

describe('deno.json', () => {
  it('when the services read a variable, then Deno allows it, and no other', () => {
    const { command }: { command: string } = JSON.parse(readFileSync('deno.json', 'utf8')).tasks.start
    const patterns = /--allow-env=(\S+)/.exec(command)?.[1]?.split(',') ?? []
    const unseen = VARIABLES.filter((name) => !patterns.some((pattern) => fits(name, pattern)))
    expect(unseen, remedy('--allow-env')).toEqual([])
    expect(patterns.filter((pattern) => !VARIABLES.some((name) => fits(name, pattern)))).toEqual([])
  })
})

describe('.env.example', () => {
  it('when there is a variable, then it is listed', () => {
    const example = readFileSync('.env.example', 'utf8')
    const unlisted = VARIABLES.filter((name) => !new RegExp(`^(# )?${name}=`, 'm').test(example))
    expect(unlisted, 'list it with its default').toEqual([])
  })
})
