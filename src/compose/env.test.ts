import { describe, expect, it } from 'vitest'
import { type Env, EnvError, parseEnv } from './env.ts'

const STRONG = 'kGm1Yb0Jm7q0p3c9m4vWc0aPq8sX2tYzU5nL'
const OTHER = 'Zr8uQe2Lw5xTn1Vb6Hd9Kj3Pf7Ms4Cg0YaIo'
const THIRD = 'Qa4Wd7Rf1Tg8Yh2Uj5Ik9Ol3Pz6Xs0Cv7BnM'
const PRODUCTION = { NODE_ENV: 'production', JWT_SECRET: STRONG, SERVICE_TOKEN: OTHER }

/** The faults of an environment: the lines of its one error message. */
function faultsOf(variables: Record<string, string | undefined>): string[] {
  try {
    parseEnv(variables)
  } catch (error) {
    if (!(error instanceof EnvError)) throw error
    const [heading, ...lines] = error.message.split('\n')
    expect(heading).toBe('The environment is not usable:')
    return lines.map((line) => line.replace(/^ {2}- /, ''))
  }
  return []
}

/** The names of the faulty variables. */
function faulty(variables: Record<string, string | undefined>): string[] {
  return faultsOf(variables).map((fault) => fault.slice(0, fault.indexOf(':')))
}

describe('the environment', () => {
  it('when nothing is set, then every variable has its documented default', () => {
    expect(parseEnv({})).toMatchObject({
      production: false,
      ports: { own: undefined, customers: 3001, orders: 3010, orchestrator: 3000 },
      database: { host: undefined, port: 3306, pool: 10, file: '.data/b2b.sqlite' },
      serviceTokens: ['internal123'],
      orders: { holdMinutes: 1440, cancelWindowMinutes: 10 },
      idempotencyTtlMinutes: 24 * 60,
      rateLimitPerMinute: undefined,
      maxInFlight: 1000,
      orchestrator: { deadlineMs: 10_000 },
    })
  })

  it.each([
    ['CORS_ORIGINS', '*'],
    ['CORS_ORIGINS', 'https://shop.example.com/'],
    ['CORS_ORIGINS', 'https://shop.example.com:443'],
    ['CORS_ORIGINS', 'shop.example.com'],
    ['CORS_ORIGINS', 'https://shop.example.com,'],
    ['PUBLIC_URL', 'api.example.com'],
    ['PUBLIC_URL', 'https://api.example.com/?stage=dev'],
  ])('when %s is %s, then it is refused', (name, value) => {
    expect(faulty({ [name]: value })).toEqual([name])
  })

  it('when a collector is configured, then traces go there, with its headers and the share of traces', () => {
    const variables = {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'https://collector.example.com/otlp',
      OTEL_EXPORTER_OTLP_HEADERS: 'api-key=a%3Db, x-tenant=two',
      OTEL_TRACES_SAMPLER_ARG: '0.5',
    }
    expect(parseEnv(variables).traces).toEqual({
      endpoint: 'https://collector.example.com/otlp',
      headers: { 'api-key': 'a=b', 'x-tenant': 'two' },
      ratio: 0.5,
    })
    const { OTEL_EXPORTER_OTLP_ENDPOINT } = variables
    expect(parseEnv({ OTEL_EXPORTER_OTLP_ENDPOINT }).traces).toMatchObject({ headers: {}, ratio: 0.05 })
    expect(parseEnv({}).traces).toBeUndefined()
  })

  it.each([
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'api-key'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'api-key=%zz'],
    ['OTEL_EXPORTER_OTLP_HEADERS', '=one'],
    ['OTEL_TRACES_SAMPLER_ARG', '1.5'],
    ['OTEL_TRACES_SAMPLER_ARG', '5%'],
    ['OTEL_TRACES_SAMPLER_ARG', '-0.1'],
  ])('when %s is %s, then it is refused', (name, value) => {
    expect(faulty({ [name]: value })).toEqual([name])
  })

  it('when CORS_ORIGINS lists several origins, then each is parsed', () => {
    const { corsOrigins } = parseEnv({ CORS_ORIGINS: 'https://shop.example.com, http://localhost:5173' })
    expect(corsOrigins).toEqual(['https://shop.example.com', 'http://localhost:5173'])
    expect(parseEnv({}).corsOrigins).toEqual([])
  })

  it('when a program has defaults, then they count outside production, for absent variables', () => {
    const devDefaults = { WEBHOOK_ALLOW_HTTP: 'true', LOG_LEVEL: 'debug' }
    const given = { WEBHOOK_ALLOW_HTTP: '' }
    expect(parseEnv(given, { devDefaults })).toMatchObject({ webhooks: { allowHttp: true }, logLevel: 'debug' })
    expect(parseEnv({ LOG_LEVEL: 'warn' }, { devDefaults }).logLevel).toBe('warn')
    expect(parseEnv({}, { devDefaults, file: { LOG_LEVEL: 'warn' } }).logLevel).toBe('warn')
    expect(parseEnv(PRODUCTION, { devDefaults })).toMatchObject({ webhooks: { allowHttp: false }, logLevel: 'info' })
  })

  it('when a file sets a variable, then the environment overrides it unless empty', () => {
    const file = { DB_NAME: 'of_file', DB_USER: 'of_file', DB_HOST: 'of_file', UNKNOWN: 'of_file' }
    const { database } = parseEnv({ DB_USER: 'own', DB_HOST: '' }, { file })
    expect(database).toMatchObject({ name: 'of_file', user: 'own', host: undefined })
  })

  it('when the environment cannot be listed, then variables are read by name', () => {
    const hidden = new Proxy({ DB_NAME: 'known' }, { ownKeys: () => expect.unreachable('nobody may list them') })
    expect(parseEnv(hidden).database.name).toBe('known')
  })

  it('when the variables of the assignment are set, then their values are used', () => {
    const env = parseEnv({
      PORT: '8080',
      DB_HOST: 'mysql',
      DB_PORT: '3307',
      DB_USER: 'app',
      DB_PASS: 'pass',
      DB_NAME: 'shop',
      DB_POOL: '5',
      JWT_SECRET: 'jwt',
      SERVICE_TOKEN: 'token',
      CUSTOMERS_API_BASE: 'http://customers-api:3001',
      ORDERS_API_BASE: 'https://orders.example/api',
    })
    expect(env.ports.own).toBe(8080)
    expect(env.database).toMatchObject({ host: 'mysql', port: 3307, user: 'app', password: 'pass', name: 'shop' })
    expect(env.database.pool).toBe(5)
    expect(env.jwt.secret).toBe('jwt')
    expect(env.serviceTokens).toEqual(['token'])
    expect(env.customersBase).toBe('http://customers-api:3001')
    expect(env.ordersBase).toBe('https://orders.example/api')
  })

  it('when a variable is empty, then it counts as absent', () => {
    expect(parseEnv({ DB_HOST: '', PORT: '', JWT_SECRET: '', SERVICE_TOKEN: '', JWKS_URL: '' })).toEqual(parseEnv({}))
  })

  it('when a variable is unknown, then it is ignored', () => {
    expect(faultsOf({ HOME: '/root', PATH: '/bin' })).toEqual([])
  })

  it('when several variables are wrong, then one list names each with its reason', () => {
    const faults = faultsOf({
      PORT: 'abc',
      DB_PORT: '70000',
      CUSTOMERS_API_BASE: 'customers:3001',
      ORDERS_API_BASE: 'ftp://orders',
      ORCHESTRATOR_PUBLIC: 'yes',
      NODE_ENV: 'staging',
      SERVICE_TOKEN: 'a,b,c',
    })
    expect(faults.map((fault) => fault.slice(0, fault.indexOf(':'))).sort()).toEqual([
      'CUSTOMERS_API_BASE',
      'DB_PORT',
      'NODE_ENV',
      'ORCHESTRATOR_PUBLIC',
      'ORDERS_API_BASE',
      'PORT',
      'SERVICE_TOKEN',
    ])
    for (const fault of faults) expect(fault).toMatch(/^[A-Z_]+: \S.+/)
  })

  it('when several domains have faults, then the list keeps one order', () => {
    const names = faulty({
      LOG_LEVEL: 'x',
      ORCHESTRATOR_DEADLINE_MS: 'x',
      HTTP_TIMEOUT_MS: 'x',
      MAX_REQUESTS: 'x',
      LOGIN_ATTEMPTS_PER_MINUTE: 'x',
      RATE_LIMIT_PER_MINUTE: 'x',
      IDEMPOTENCY_TTL_HOURS: 'x',
      ORDER_HOLD_MINUTES: 'x',
      ORDERS_API_BASE: 'x',
      SERVICE_TOKEN: 'a b',
      JWT_TTL_SECONDS: 'x',
      DB_POOL: 'x',
      DB_SOCKET: '/socket',
      DB_HOST: 'mysql',
      CUSTOMERS_PORT: 'x',
      PORT: 'x',
      NODE_ENV: 'x',
    })
    expect(names).toEqual([
      'NODE_ENV',
      'PORT',
      'CUSTOMERS_PORT',
      'DB_POOL',
      'JWT_TTL_SECONDS',
      'ORDERS_API_BASE',
      'ORDER_HOLD_MINUTES',
      'IDEMPOTENCY_TTL_HOURS',
      'RATE_LIMIT_PER_MINUTE',
      'LOGIN_ATTEMPTS_PER_MINUTE',
      'MAX_REQUESTS',
      'HTTP_TIMEOUT_MS',
      'ORCHESTRATOR_DEADLINE_MS',
      'LOG_LEVEL',
      'DB_SOCKET',
      'SERVICE_TOKEN',
    ])
  })

  it('when values are wrong and secrets are weak, then one list names both', () => {
    expect(faulty({ NODE_ENV: 'production', PORT: 'abc' }).sort()).toEqual(['JWT_SECRET', 'PORT', 'SERVICE_TOKEN'])
  })

  it.each([
    ['PORT', '-1'],
    ['PORT', '1.5'],
    ['PORT', ' '],
    ['PORT', '0x50'],
    ['DB_POOL', '0'],
    ['ORDER_HOLD_MINUTES', '10081'],
    ['CANCEL_WINDOW_MINUTES', '-1'],
    ['IDEMPOTENCY_TTL_HOURS', '0'],
    ['RATE_LIMIT_PER_MINUTE', '0'],
    ['MAX_REQUESTS', '0'],
    ['MAX_REQUESTS', '-1'],
    ['MAX_REQUESTS', '1.5'],
    ['MAX_REQUESTS', '100001'],
    ['MAX_REQUESTS', 'many'],
    ['ORCHESTRATOR_DEADLINE_MS', '29001'],
    ['ORCHESTRATOR_PUBLIC', 'TRUE'],
    ['LOG_LEVEL', 'loud'],
    ['JWKS_URL', 'file:///etc/keys'],
  ])('when %s is %j, then it is refused', (name, value) => {
    expect(faulty({ [name]: value })).toEqual([name])
  })

  const limits = [
    { name: 'REQUEST_TIMEOUT_MS', byDefault: 15_000, bounds: [100, 300_000], of: (env: Env) => env.serving.requestMs },
    { name: 'STALL_TIMEOUT_MS', byDefault: 120_000, bounds: [1_000, 600_000], of: (env: Env) => env.serving.stallMs },
    {
      name: 'MAX_BODY_BYTES_IN_FLIGHT',
      byDefault: 67_108_864,
      bounds: [4_194_304, 999_999_999],
      of: (env: Env) => env.maxBodyBytesInFlight,
    },
    {
      name: 'MAX_CONNECTIONS',
      byDefault: 10_000,
      bounds: [1, 1_000_000],
      of: (env: Env) => env.serving.maxConnections,
    },
    { name: 'KEEP_ALIVE_MS', byDefault: 65_000, bounds: [1, 600_000], of: (env: Env) => env.serving.keepAliveMs },
    {
      name: 'DB_CONNECT_TIMEOUT_MS',
      byDefault: 5_000,
      bounds: [1, 60_000],
      of: (env: Env) => env.database.connectTimeoutMs,
    },
    {
      name: 'DB_QUERY_TIMEOUT_MS',
      byDefault: 20_000,
      bounds: [1_000, 600_000],
      of: (env: Env) => env.database.queryTimeoutMs,
    },
    {
      name: 'DB_READ_TIMEOUT_MS',
      byDefault: 2_000,
      bounds: [100, 600_000],
      of: (env: Env) => env.database.readTimeoutMs,
    },
    {
      name: 'LOGIN_ATTEMPTS_PER_MINUTE',
      byDefault: 20,
      bounds: [1, 1_000_000],
      of: (env: Env) => env.logins.attemptsPerMinute,
    },
    { name: 'TRUSTED_PROXIES', byDefault: 0, bounds: [0, 10], of: (env: Env) => env.logins.trustedProxies },
  ]

  it.each(limits)('when $name is within $bounds, then it is accepted, and nothing else is', (limit) => {
    const { name, byDefault, bounds, of } = limit
    const [min = 0, max = 0] = bounds
    expect(of(parseEnv({}))).toBe(byDefault)
    for (const good of [min, max]) expect(of(parseEnv({ [name]: String(good) }))).toBe(good)
    for (const bad of [String(min - 1), String(max + 1), '1.5', 'soon', '1s']) {
      expect(faulty({ [name]: bad })).toEqual([name])
    }
  })

  it('when DB_TLS is off, on, or amazon-rds, then it is accepted, and nothing else is', () => {
    expect(parseEnv({}).database.tls).toBe('off')
    for (const tls of ['off', 'on', 'amazon-rds']) expect(parseEnv({ DB_TLS: tls }).database.tls).toBe(tls)
    for (const bad of ['true', 'ON', 'required']) expect(faulty({ DB_TLS: bad })).toEqual(['DB_TLS'])
  })

  it.each([1, 100_000])('when MAX_REQUESTS is at its bound of %d, then it is accepted', (bound) => {
    expect(parseEnv({ MAX_REQUESTS: String(bound) }).maxInFlight).toBe(bound)
  })
})

describe('the claims of an identity provider', () => {
  it('when nothing is set, then the names are those of the tokens of this API', () => {
    expect(parseEnv({}).jwt).toMatchObject({
      audiences: ['b2b-orders'],
      claims: { scopes: undefined, scopePrefix: '', customer: 'customer_id', audience: 'aud' },
    })
  })

  it('when other names or several audiences are set, then those are used', () => {
    const { jwt } = parseEnv({
      JWT_AUDIENCE: 'one, other,',
      JWT_SCOPES_CLAIM: 'roles',
      JWT_SCOPE_PREFIX: 'api/',
      JWT_CUSTOMER_CLAIM: 'https://orders.example/customer',
      JWT_AUDIENCE_CLAIM: 'client_id',
    })
    expect(jwt).toMatchObject({
      audiences: ['one', 'other'],
      claims: {
        scopes: 'roles',
        scopePrefix: 'api/',
        customer: 'https://orders.example/customer',
        audience: 'client_id',
      },
    })
  })
})

describe('service tokens', () => {
  it('when one is rotated, then two are accepted, with or without a space', () => {
    expect(parseEnv({ SERVICE_TOKEN: 'new,old' }).serviceTokens).toEqual(['new', 'old'])
    expect(parseEnv({ SERVICE_TOKEN: 'new, old' }).serviceTokens).toEqual(['new', 'old'])
  })

  it.each(['a,b,c', 'a,', ',a', ',', ' ', 'a b', 'a#b', 'ä', 'a,b!'])(
    'when they are %j, then it is refused',
    (tokens) => {
      expect(faulty({ SERVICE_TOKEN: tokens })).toEqual(['SERVICE_TOKEN'])
    },
  )
})

describe('JWT secrets', () => {
  it('when one is rotated, then the first signs, and both are accepted', () => {
    expect(parseEnv({ JWT_SECRET: 'one' }).jwt).toMatchObject({ secret: 'one', otherSecret: undefined })
    expect(parseEnv({ JWT_SECRET: 'new, old' }).jwt).toMatchObject({ secret: 'new', otherSecret: 'old' })
    expect(parseEnv({}).jwt).toMatchObject({ secret: 'secret123', otherSecret: undefined })
  })

  it.each(['a,b,c', 'a,', ',a', ','])('when they are %j, then it is refused', (secrets) => {
    expect(faulty({ JWT_SECRET: secrets })).toEqual(['JWT_SECRET'])
  })

  it('when one is rotated in production, then both must be strong', () => {
    expect(faultsOf({ ...PRODUCTION, JWT_SECRET: `${STRONG},${THIRD}` })).toEqual([])
    expect(faulty({ ...PRODUCTION, JWT_SECRET: `${STRONG},secret123` })).toEqual(['JWT_SECRET'])
  })
})

describe('production', () => {
  it('when the secrets are strong, then it starts', () => {
    expect(parseEnv(PRODUCTION)).toMatchObject({ production: true, jwt: { secret: STRONG }, serviceTokens: [OTHER] })
  })

  it('when a service token is rotated, then both must be strong', () => {
    expect(faultsOf({ ...PRODUCTION, SERVICE_TOKEN: `${OTHER},${THIRD}` })).toEqual([])
    expect(faulty({ ...PRODUCTION, SERVICE_TOKEN: `${OTHER},internal123` })).toEqual(['SERVICE_TOKEN'])
    expect(faulty({ ...PRODUCTION, SERVICE_TOKEN: `short,${OTHER}` })).toEqual(['SERVICE_TOKEN'])
  })

  it.each([
    ['missing', undefined, /must be set in production/],
    ['empty', '', /must be set in production/],
    ['short', 'x'.repeat(31), /at least 32 bytes/],
    ['published', 'secret123', /published/],
    ['another published secret', 'internal123', /published/],
    ['the demo client’s', 'demo-secret', /published/],
  ])('when a secret is %s, then the refusal says how to make one and hides the secret', (_, secret, reason) => {
    for (const name of ['JWT_SECRET', 'SERVICE_TOKEN']) {
      const [fault = '', ...others] = faultsOf({ ...PRODUCTION, [name]: secret })
      expect(others).toEqual([])
      expect(fault).toMatch(new RegExp(`^${name}: .*openssl rand`))
      expect(fault).toMatch(reason)
      if (secret) expect(fault).not.toContain(secret)
    }
  })

  it('when a secret has 32 bytes in fewer characters, then it is long enough', () => {
    expect(faultsOf({ ...PRODUCTION, JWT_SECRET: 'é'.repeat(16) })).toEqual([])
  })

  it('when an identity provider issues the tokens, then no JWT secret is needed', () => {
    const variables = { ...PRODUCTION, JWT_SECRET: undefined, JWKS_URL: 'https://id.example/jwks' }
    expect(parseEnv(variables).jwt.jwksUrl).toBe('https://id.example/jwks')
  })

  it.each([
    [STRONG, STRONG],
    [`${STRONG},${OTHER}`, OTHER],
    [STRONG, `${OTHER},${STRONG}`],
  ])('when a JWT secret is a service token too (%#), then it is refused', (JWT_SECRET, SERVICE_TOKEN) => {
    const [fault = '', ...others] = faultsOf({ ...PRODUCTION, JWT_SECRET, SERVICE_TOKEN })
    expect(others).toEqual([])
    expect(fault).toMatch(/^SERVICE_TOKEN: must differ from JWT_SECRET/)
    expect(fault).not.toContain(STRONG)
    expect(faultsOf({ JWT_SECRET, SERVICE_TOKEN })).toEqual([])
  })

  it('when JWKS_URL is plain http in production, then it is refused', () => {
    for (const JWKS_URL of ['http://id.example/jwks', 'HTTP://id.example/jwks']) {
      expect(faulty({ ...PRODUCTION, JWKS_URL })).toEqual(['JWKS_URL'])
      expect(faultsOf({ JWKS_URL })).toEqual([])
    }
  })

  it('when it is not production, then the published secrets are accepted', () => {
    expect(faultsOf({ JWT_SECRET: 'secret123', SERVICE_TOKEN: 'internal123' })).toEqual([])
  })
})
