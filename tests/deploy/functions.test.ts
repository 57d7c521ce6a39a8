import { randomBytes } from 'node:crypto'
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { parseEnv } from '../../src/compose/env.ts'
import { PLATFORM_ERRORS } from '../../src/platform/core/errors.ts'
import type { ApiClient, ApiResponse } from '../../testing/api-client.ts'
import { startAws } from '../../testing/aws.ts'
import { type Deployment, deploy, FUNCTIONS, type FunctionName, LOOPBACK, SECRETS } from '../../testing/deployment.ts'
import {
  bytesOf,
  callerOf,
  type FunctionResult,
  headersOf,
  recorded,
  restEvent,
  WAYS,
  type Way,
} from '../../testing/events.ts'
import type { Variables } from '../../testing/fixture.ts'
import { type LambdaInstance, startInstanceOf } from '../../testing/lambda.ts'
import {
  copyProject,
  type Packages,
  packFunctions,
  readZip,
  resourceOf,
  type Template,
  tryToPack,
  type UnpackedFunction,
  unpack,
} from '../../testing/packages.ts'
import { expectFailure, expectProblem } from '../../testing/problems.ts'
import { ROOT, until } from '../../testing/programs.ts'
import { createTestDatabase, describeEachEngine } from '../../testing/system.ts'
import { startReceiver } from '../../testing/webhook-receiver.ts'

const ASSETS = ['favicon-32x32.png', 'swagger-ui-bundle.js', 'swagger-ui.css']
const MAX_BYTES = {
  customers: 1_000_000,
  orders: 1_000_000,
  orchestrator: 400_000,
  sweep: 1_000_000,
  events: 1_000_000,
  docs: 1_000_000,
}
/** A `.env` with all that is off by default, for functions that call APIs on a laptop. */
const SETTINGS = {
  TRACING: 'true',
  SWEEP_SCHEDULED: 'false',
  VPC_NETWORK: 'private',
  VPC_SECURITY_GROUP_ID: 'sg-1',
  VPC_SUBNET_ID_A: 'subnet-a',
  VPC_SUBNET_ID_B: 'subnet-b',
  CUSTOMERS_API_BASE: 'https://nice-kangaroo-12.loca.lt',
  ORDERS_API_BASE: 'https://brave-lion-34.loca.lt',
  ...SECRETS,
  ORCHESTRATOR_PUBLIC: 'true',
  DB_HOST: 'db.example',
  DB_USER: 'shop',
  DB_PASS: 'password-of-a-developer',
  DB_TLS: 'on',
  RATE_LIMIT_PER_MINUTE: '600',
  WEBHOOK_ALLOWED_NETWORKS: '10.1.0.0/16',
  ALARM_TOPIC_ARN: 'arn:aws:sns:us-east-1:123456789012:alarms',
  ACCESS_LOGS: 'false',
  API_REQUESTS_PER_SECOND: '10',
  API_BURST: '20',
}

let project: ReturnType<typeof copyProject>
let packages: Packages
/** Packed with a `.env` of those settings. */
let turnedOn: Packages
const unpacked = {} as Record<FunctionName, UnpackedFunction>

beforeAll(async () => {
  project = copyProject()
  packages = await packFunctions(project.folder)
  const lines = Object.entries(SETTINGS).map(([name, value]) => `${name}=${value}\n`)
  writeFileSync(join(project.folder, '.env'), lines.join(''))
  turnedOn = await packFunctions(project.folder, {})
  for (const name of FUNCTIONS) unpacked[name] = unpack(packages, name)
}, 120_000)

afterAll(() => {
  for (const { folder } of Object.values(unpacked)) rmSync(folder, { recursive: true, force: true })
  project?.remove()
})

describe('the packages', () => {
  it.each(FUNCTIONS)('when that of %s is opened, then it has the files of the function and no others', (name) => {
    const own = ['index.mjs', 'app.mjs', 'app.mjs.map'].map((file) => `.build/${name}/${file}`)
    const swaggerUi = ['LICENSE', 'NOTICE', 'package.json', ...ASSETS].map(
      (file) => `.build/docs/node_modules/swagger-ui-dist/${file}`,
    )
    const expected = name === 'docs' ? [...own, ...swaggerUi] : own
    const files = Object.keys(readZip(zipOf(packages, name)))
    const [cache, ...others] = files.filter((file) => file.startsWith(`.build/${name}/cache/`))
    expect({ cache, others }).toEqual({ cache: expect.stringContaining(`/${process.version}-`), others: [] })
    expect(files.filter((file) => file !== cache).sort()).toEqual(expected.sort())
  })

  it.each(FUNCTIONS)('when that of %s is weighed, then it is small', (name) => {
    expect(zipOf(packages, name).length).toBeLessThanOrEqual(MAX_BYTES[name])
  })

  it('when they are searched, then they have nothing of this machine', () => {
    const files = FUNCTIONS.flatMap((name) => Object.values(readZip(zipOf(packages, name))))
    for (const bytes of files) expect(bytes.includes(project.folder)).toBe(false)
  })

  it('when they are searched, then they have nothing that only metrics need', () => {
    const code = FUNCTIONS.map((name) => readZip(zipOf(packages, name))[`.build/${name}/app.mjs`]?.toString())
    for (const text of code) expect(text).not.toMatch(/openmetrics-text|monitorEventLoopDelay/)
  })

  it('when they are packed beside a `.env`, then the code is the same, byte for byte', () => {
    for (const name of FUNCTIONS) expect(zipOf(turnedOn, name).equals(zipOf(packages, name))).toBe(true)
  })

  it('when secrets are at hand, then packing leaves them out and says so', () => {
    expect(turnedOn.output).toContain('Not deployed: SERVICE_TOKEN, JWT_SECRET, DB_PASS, WEBHOOK_KEYS')
    expect(turnedOn.output).toContain('below /b2b-orders/dev')
    const texts = [...Object.entries(turnedOn.files), ['output', Buffer.from(turnedOn.output)] as const]
    for (const secret of [...Object.values(SECRETS), SETTINGS.DB_PASS]) {
      for (const [name, bytes] of texts)
        expect({ name, secret: bytes.includes(secret) }).toEqual({ name, secret: false })
    }
  })
})

describe('settings that must not be deployed', () => {
  const remedy = 'make one with: openssl rand -base64 32'
  const [strong = ''] = Object.values(SECRETS)
  const refused: { title: string; variables: Variables; faults: string[] }[] = [
    {
      title: 'SECRETS_SSM_PATH and the secrets are missing',
      variables: {},
      faults: [
        `JWT_SECRET: must be set in production; ${remedy}`,
        `SERVICE_TOKEN: must be set in production; ${remedy}`,
      ],
    },
    {
      title: 'it is for development, with the published secrets',
      variables: { NODE_ENV: 'development', JWT_SECRET: 'secret123', SERVICE_TOKEN: 'internal123' },
      faults: [
        'NODE_ENV: is development; only production is deployed, so leave it out',
        `JWT_SECRET: this value is published; ${remedy}`,
        `SERVICE_TOKEN: this value is published; ${remedy}`,
      ],
    },
    {
      title: 'a secret is short, though others are in SSM',
      variables: { SECRETS_SSM_PATH: '/b2b-orders/dev', JWT_SECRET: 'short' },
      faults: [`JWT_SECRET: must be at least 32 bytes in production; ${remedy}`],
    },
    {
      title: 'variables are wrong',
      variables: { SECRETS_SSM_PATH: 'b2b-orders/', DB_TLS: 'maybe', SERVICE_TOKEN: strong },
      faults: ['SECRETS_SSM_PATH: must be a path like /b2b-orders/dev', 'DB_TLS: must be one of: off, on, amazon-rds'],
    },
  ]

  it.each(refused)('when $title, then packing fails and says what to set', async ({ variables, faults }) => {
    const fresh = copyProject()
    onTestFinished(() => fresh.remove())
    const { code, output, out } = await tryToPack(fresh.folder, variables)
    expect(code).toBe(1)
    expect(readdirSync(out)).toEqual([])
    expect(output.split('\n').filter((line) => line.startsWith('  - '))).toEqual(faults.map((fault) => `  - ${fault}`))
    expect(output.includes('Set SECRETS_SSM_PATH')).toBe(!('SECRETS_SSM_PATH' in variables))
  })

  it('when .env.example is copied, then packing fails without SECRETS_SSM_PATH', async () => {
    const fresh = copyProject()
    onTestFinished(() => fresh.remove())
    copyFileSync(join(ROOT, '.env.example'), join(fresh.folder, '.env'))
    const { code, output } = await tryToPack(fresh.folder, {})
    expect(code).toBe(1)
    for (const name of ['JWT_SECRET', 'SERVICE_TOKEN', 'SECRETS_SSM_PATH']) expect(output).toContain(name)
    const { template } = await packFunctions(fresh.folder)
    for (const name of FUNCTIONS) expect(settingsOf(template, name)).toEqual(settingsOf(packages.template, name))
  }, 120_000)
})

describe('the template', () => {
  const parameters = (...names: string[]) => names.map((name) => `/b2b-orders/dev/${name}`)
  const ofCallers = parameters('service-token', 'jwt-secret')
  const ofDatabase = parameters('db-host', 'db-user', 'db-pass')
  const ofWebhooks = parameters('webhook-keys')
  const database = { DB_PORT: '3306', DB_NAME: 'b2b', DB_POOL: '2', DB_TLS: 'amazon-rds' }
  const bases = { CUSTOMERS_API_BASE: 'lambda://customers-api-dev', ORDERS_API_BASE: 'lambda://orders-api-dev' }

  const functions = [
    {
      key: 'orchestrator',
      name: 'lambda-orchestrator-dev-orchestrate',
      memory: 512,
      timeout: 28,
      reads: ofCallers,
      calls: ['customers-api-dev', 'orders-api-dev'],
      variables: { ...bases, ORCHESTRATOR_PUBLIC: 'false', ORCHESTRATOR_DEADLINE_MS: '10000' },
    },
    {
      key: 'customers',
      name: 'customers-api-dev',
      memory: 512,
      timeout: 28,
      reads: [...ofCallers, ...ofDatabase],
      calls: [],
      variables: database,
    },
    {
      key: 'orders',
      name: 'orders-api-dev',
      memory: 512,
      timeout: 28,
      reads: [...ofCallers, ...ofDatabase, ...ofWebhooks],
      calls: ['customers-api-dev'],
      variables: { CUSTOMERS_API_BASE: bases.CUSTOMERS_API_BASE, ...database },
    },
    {
      key: 'sweep',
      name: 'orders-sweep-dev',
      memory: 512,
      timeout: 120,
      reads: ofDatabase,
      calls: [],
      variables: database,
    },
    {
      key: 'events',
      name: 'orders-events-dev',
      memory: 512,
      timeout: 80,
      reads: [...ofDatabase, ...ofWebhooks],
      calls: [],
      variables: database,
    },
    { key: 'docs', name: 'api-docs-dev', memory: 256, timeout: 28, reads: [], calls: [], variables: {} },
  ]

  it.each(functions)('when the function $key is read, then it has its name, limits and variables', (given) => {
    const { Properties } = resourceOf(packages.template, given.key)
    expect(Properties).toMatchObject({
      FunctionName: given.name,
      Handler: `.build/${given.key}/index.handler`,
      Runtime: 'nodejs24.x',
      Architectures: ['arm64'],
      MemorySize: given.memory,
      Timeout: given.timeout,
      Role: { 'Fn::GetAtt': [roleOf(given.key), 'Arn'] },
    })
    const set = Object.entries(Properties.Environment.Variables).filter(([, value]) => value !== '')
    const common = { NODE_ENV: 'production', LOG_LEVEL: 'info' }
    const read = given.reads.length > 0 ? { SSM_PARAMETERS: given.reads.join(',') } : {}
    expect(Object.fromEntries(set)).toEqual({ ...common, ...read, ...given.variables })
  })

  it('when the functions are counted, then there are these six', () => {
    expect(typesOf(packages.template, 'AWS::Lambda::Function')).toHaveLength(functions.length)
  })

  it('when the log groups are read, then each keeps its lines for 30 days', () => {
    const groups = typesOf(packages.template, 'AWS::Logs::LogGroup').map(({ Properties }) => Properties)
    const names = [...functions.map(({ name }) => `/aws/lambda/${name}`), '/aws/api-gateway/b2b-orders-dev']
    const expected = names.map((LogGroupName) => ({ LogGroupName, RetentionInDays: 30 }))
    expect(groups.sort(byJson)).toEqual(expected.sort(byJson))
  })

  it.each(functions)('when the role of $key is read, then it allows what $key does and nothing else', (given) => {
    const arn = (service: string, rest: string) => ({
      'Fn::Sub': `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${rest}`,
    })
    const { Properties } = packages.template.Resources[roleOf(given.key)] ?? {}
    expect(Properties).not.toHaveProperty('ManagedPolicyArns')
    const grants = grantsOf(packages.template, given.key)
    const allowed = (action: string) =>
      grants.filter(({ Action }) => Action.includes(action)).flatMap(({ Resource }) => Resource)
    expect(allowed('logs:PutLogEvents')).toEqual([{ 'Fn::GetAtt': [`${capital(given.key)}LogGroup`, 'Arn'] }])
    expect(allowed('ssm:GetParameters')).toEqual(given.reads.map((name) => arn('ssm', `parameter${name}`)))
    expect(allowed('lambda:InvokeFunction')).toEqual(given.calls.map((name) => arn('lambda', `function:${name}`)))
    for (const { Condition } of grants.filter(({ Action }) => Action.includes('kms:Decrypt'))) {
      expect(Condition).toEqual({
        StringEquals: { 'kms:ViaService': { 'Fn::Sub': `ssm.\${AWS::Region}.\${AWS::URLSuffix}` } },
        StringLike: { 'kms:EncryptionContext:PARAMETER_ARN': arn('ssm', 'parameter/b2b-orders/dev/*') },
      })
    }
    const known = /^(logs:(CreateLogStream|PutLogEvents)|ssm:GetParameters|lambda:InvokeFunction|kms:Decrypt)$/
    expect(grants.flatMap(({ Action }) => Action).filter((action) => !known.test(action))).toEqual([])
  })

  it('when the roles are counted, then each function has its own', () => {
    expect(typesOf(packages.template, 'AWS::IAM::Role')).toHaveLength(functions.length)
  })

  it('when the routes are read, then each leads to its function, in the stage dev', () => {
    expect(routesOf(packages.template)).toEqual({
      'ANY /': 'OrchestratorLambdaFunction',
      'ANY /{proxy+}': 'OrchestratorLambdaFunction',
      'ANY /customers-api': 'CustomersLambdaFunction',
      'ANY /customers-api/{proxy+}': 'CustomersLambdaFunction',
      'ANY /orders-api': 'OrdersLambdaFunction',
      'ANY /orders-api/{proxy+}': 'OrdersLambdaFunction',
      'GET /docs/swagger-ui-dist/{file}': 'DocsLambdaFunction',
      'GET /customers-api/docs/swagger-ui-dist/{file}': 'DocsLambdaFunction',
      'GET /orders-api/docs/swagger-ui-dist/{file}': 'DocsLambdaFunction',
    })
    const stages = typesOf(packages.template, 'AWS::ApiGateway::Stage').map(({ Properties }) => Properties.StageName)
    expect(stages).toEqual(['dev'])
    expect(packages.template.Resources.ApiGatewayRestApi?.Properties).toMatchObject({
      BinaryMediaTypes: ['*/*'],
      EndpointConfiguration: { Types: ['REGIONAL'] },
    })
  })

  it('when its methods are read, then none allows other origins', () => {
    const methods = typesOf(packages.template, 'AWS::ApiGateway::Method').map(({ Properties }) => Properties.HttpMethod)
    expect(methods.sort()).toEqual([...Array(6).fill('ANY'), 'GET', 'GET', 'GET'])
  })

  it('when its permissions are read, then only this API and these schedules may invoke', () => {
    const permissions = typesOf(packages.template, 'AWS::Lambda::Permission').map(({ Properties }) => ({
      who: Properties.Principal,
      calls: Properties.FunctionName['Fn::GetAtt'][0],
      from: JSON.stringify(Properties.SourceArn),
    }))
    const fromApi = { who: 'apigateway.amazonaws.com', from: expect.stringContaining('{"Ref":"ApiGatewayRestApi"}') }
    expect(permissions.sort(byJson)).toEqual(
      [
        { ...fromApi, calls: 'CustomersLambdaFunction' },
        { ...fromApi, calls: 'DocsLambdaFunction' },
        { ...fromApi, calls: 'OrchestratorLambdaFunction' },
        { ...fromApi, calls: 'OrdersLambdaFunction' },
        ...['Events', 'Sweep'].map((name) => ({
          who: 'events.amazonaws.com',
          calls: `${name}LambdaFunction`,
          from: `{"Fn::GetAtt":["${name}EventsRuleSchedule1","Arn"]}`,
        })),
      ].sort((a, b) => (`${a.who}${a.calls}` < `${b.who}${b.calls}` ? -1 : 1)),
    )
  })

  it('when the sweep is read, then it runs every minute, and one at a time', () => {
    expect(packages.template.Resources.SweepEventsRuleSchedule1?.Properties).toMatchObject({
      ScheduleExpression: 'rate(1 minute)',
      State: 'ENABLED',
      Targets: [{ Arn: { 'Fn::GetAtt': ['SweepLambdaFunction', 'Arn'] } }],
    })
    expect(resourceOf(packages.template, 'sweep').Properties.ReservedConcurrentExecutions).toBe(1)
  })

  it('when the sending of webhooks is read, then it runs every minute, and runs may overlap', () => {
    expect(packages.template.Resources.EventsEventsRuleSchedule1?.Properties).toMatchObject({
      ScheduleExpression: 'rate(1 minute)',
      State: 'ENABLED',
      Targets: [{ Arn: { 'Fn::GetAtt': ['EventsLambdaFunction', 'Arn'] } }],
    })
    expect(resourceOf(packages.template, 'events').Properties).not.toHaveProperty('ReservedConcurrentExecutions')
  })

  it('when the stage is read, then it is throttled, and logs calls without secrets', () => {
    const { Resources } = packages.template
    const deployments = Object.keys(Resources).filter((id) => Resources[id]?.Type === 'AWS::ApiGateway::Deployment')
    expect(deployments).toHaveLength(1)
    // Two resources that create one stage would conflict.
    expect(Resources[String(deployments[0])]?.Properties).not.toHaveProperty('StageName')
    const stage = Resources.ApiGatewayStage?.Properties
    expect(stage.DeploymentId).toEqual({ Ref: deployments[0] })
    expect(stage.MethodSettings).toEqual([
      { HttpMethod: '*', ResourcePath: '/*', ThrottlingRateLimit: '100', ThrottlingBurstLimit: '200' },
    ])
    const { DestinationArn, Format } = decided(packages.template, stage.AccessLogSetting)
    expect(DestinationArn).toEqual({ 'Fn::GetAtt': ['AccessLogGroup', 'Arn'] })
    expect(JSON.parse(Format)).toMatchObject({ ip: '$context.identity.sourceIp', status: '$context.status' })
    expect(Format).not.toMatch(/authoriz|header|query|apiKey/i)
  })

  it('when the gateway throttles a call, then with a problem document', () => {
    const { Resources } = packages.template
    const deployment = Object.values(Resources).find(({ Type }) => Type === 'AWS::ApiGateway::Deployment')
    expect(deployment?.DependsOn).toContain('ApiThrottled')
    const { ResponseType, StatusCode, ResponseParameters, ResponseTemplates } = Resources.ApiThrottled?.Properties ?? {}
    expect({ ResponseType, StatusCode }).toEqual({ ResponseType: 'THROTTLED', StatusCode: '429' })
    expect(ResponseParameters).toEqual({
      'gatewayresponse.header.Content-Type': "'application/problem+json'",
      'gatewayresponse.header.Retry-After': "'1'",
    })
    const { request_id: _, ...problem } = JSON.parse(ResponseTemplates['application/json'])
    const { status, title } = PLATFORM_ERRORS.rate_limited
    expect(problem).toMatchObject({ type: 'urn:problem:rate_limited', code: 'rate_limited', status, title })
  })

  it('when a `.env` sets more of the stage, then that applies', () => {
    const stage = turnedOn.template.Resources.ApiGatewayStage?.Properties
    expect(stage.MethodSettings).toMatchObject([{ ThrottlingRateLimit: '10', ThrottlingBurstLimit: '20' }])
    expect(decided(turnedOn.template, stage.AccessLogSetting)).toEqual({ Ref: 'AWS::NoValue' })
    expect(stage.TracingEnabled).toBe(true)
  })

  it('when the alarms are read, then each kind of failure has one', () => {
    const alarms = typesOf(packages.template, 'AWS::CloudWatch::Alarm').map(({ Properties }) => {
      const { MetricName, Dimensions, ComparisonOperator, TreatMissingData } = Properties
      const [{ Value }] = Dimensions
      return `${Value.Ref ?? Value} ${MetricName} ${ComparisonOperator} ${TreatMissingData}`
    })
    const above = (name: string, metric: string) => `${name} ${metric} GreaterThanThreshold notBreaching`
    expect(alarms.sort()).toEqual(
      [
        ...['Orchestrator', 'Customers', 'Orders'].flatMap((name) => [
          above(`${name}LambdaFunction`, 'Errors'),
          above(`${name}LambdaFunction`, 'Throttles'),
        ]),
        ...['Sweep', 'Events'].flatMap((name) => [
          above(`${name}LambdaFunction`, 'Errors'),
          `${name}LambdaFunction Invocations LessThanThreshold breaching`,
        ]),
        above('dev-b2b-orders', '5XXError'),
      ].sort(),
    )
  })

  it('when ALARM_TOPIC_ARN is set, then every alarm notifies it, otherwise none', () => {
    const toldBy = ({ template }: Packages) =>
      typesOf(template, 'AWS::CloudWatch::Alarm').map(({ Properties }) => decided(template, Properties.AlarmActions))
    expect(new Set(toldBy(turnedOn).map((to) => JSON.stringify(to)))).toEqual(
      new Set([JSON.stringify([SETTINGS.ALARM_TOPIC_ARN])]),
    )
    for (const to of toldBy(packages)) expect(to).toEqual({ Ref: 'AWS::NoValue' })
  })

  it('when a `.env` sets a variable, then it is deployed, except secrets', () => {
    const { SERVICE_TOKEN: _, JWT_SECRET: __, DB_PASS: ___, WEBHOOK_KEYS: ____, ...open } = SETTINGS
    const needed: Record<string, (keyof typeof open)[]> = {
      orchestrator: ['CUSTOMERS_API_BASE', 'ORDERS_API_BASE', 'ORCHESTRATOR_PUBLIC', 'RATE_LIMIT_PER_MINUTE'],
      customers: ['DB_HOST', 'DB_USER', 'DB_TLS', 'RATE_LIMIT_PER_MINUTE'],
      orders: [
        'CUSTOMERS_API_BASE',
        'DB_HOST',
        'DB_USER',
        'DB_TLS',
        'RATE_LIMIT_PER_MINUTE',
        'WEBHOOK_ALLOWED_NETWORKS',
      ],
      sweep: ['DB_HOST', 'DB_USER', 'DB_TLS'],
      events: ['DB_HOST', 'DB_USER', 'DB_TLS', 'WEBHOOK_ALLOWED_NETWORKS'],
      docs: [],
    }
    for (const [name, variables] of Object.entries(needed)) {
      const { Variables: set } = resourceOf(turnedOn.template, name).Properties.Environment
      expect(set).toMatchObject(Object.fromEntries(variables.map((variable) => [variable, open[variable]])))
      for (const secret of Object.keys({ ...SECRETS, DB_PASS: '' })) expect(set).not.toHaveProperty(secret)
    }
  })

  it('when nothing is set, then no function is in a network or traced', () => {
    for (const { key } of functions) {
      const { Properties } = resourceOf(packages.template, key)
      expect(Properties).not.toHaveProperty('VpcConfig')
      expect(Properties).not.toHaveProperty('TracingConfig')
    }
  })

  it('when TRACING=true, then every function is traced and its role allows that', () => {
    for (const { key } of functions) {
      expect(resourceOf(turnedOn.template, key).Properties.TracingConfig).toEqual({ Mode: 'Active' })
    }
    for (const { key } of functions) {
      expect(grantsOf(turnedOn.template, key)).toContainEqual({
        Effect: 'Allow',
        Action: ['xray:PutTraceSegments', 'xray:PutTelemetryRecords'],
        Resource: '*',
      })
    }
  })

  it('when VPC_NETWORK=private, then every function with outgoing calls is in it', () => {
    for (const { key } of functions.filter(({ key }) => key !== 'docs')) {
      expect(resourceOf(turnedOn.template, key).Properties.VpcConfig).toEqual({
        SecurityGroupIds: ['sg-1'],
        SubnetIds: ['subnet-a', 'subnet-b'],
      })
    }
    expect(resourceOf(turnedOn.template, 'docs').Properties).not.toHaveProperty('VpcConfig')
    for (const { key } of functions) {
      const actions = grantsOf(turnedOn.template, key).flatMap(({ Action }) => Action)
      const placing = [
        'ec2:CreateNetworkInterface',
        'ec2:DescribeNetworkInterfaces',
        'ec2:DescribeSubnets',
        'ec2:DeleteNetworkInterface',
        'ec2:AssignPrivateIpAddresses',
        'ec2:UnassignPrivateIpAddresses',
      ]
      expect(actions.filter((action) => action.startsWith('ec2:'))).toEqual(key === 'docs' ? [] : placing)
    }
  })

  it('when SWEEP_SCHEDULED=false, then the schedules exist but are disabled', () => {
    for (const name of ['Sweep', 'Events']) {
      expect(turnedOn.template.Resources[`${name}EventsRuleSchedule1`]?.Properties.State).toBe('DISABLED')
    }
    const { Scheduled, EventsScheduled } = turnedOn.template.Conditions ?? {}
    for (const condition of [Scheduled, EventsScheduled]) expect(condition).toEqual({ 'Fn::Equals': ['false', 'true'] })
  })
})

describeEachEngine('the functions', (engine) => {
  const deployment = useDeployment(() => deploy(engine, unpacked))

  describe.each(WAYS)('when Orders is reached through $title', (way) => {
    const call: ApiClient['call'] = (...request) =>
      callerOf(deployment.instances.orders, way, '/orders-api', deployment.token)(...request)
    const body = { customer_id: 1, items: [{ product_id: 1, qty: 1 }] }

    it('then an order is placed, replayed byte for byte, read, listed and confirmed', async () => {
      const key = { 'Idempotency-Key': newKey() }
      const placed = await call('POST', '/orders', { body, headers: key })
      expect(placed.status).toBe(201)
      expect(placed.body).toMatchObject({ customer_id: 1, status: 'CREATED', items: [{ product_id: 1, qty: 1 }] })
      const { id } = placed.body
      expect(locationOf(placed, `${way.front('/orders-api')}/orders`)).toBe(`${way.front('/orders-api')}/orders/${id}`)

      const replayed = await call('POST', '/orders', { body, headers: key })
      expect({ status: replayed.status, text: replayed.text }).toEqual({ status: 201, text: placed.text })
      expect(replayed.headers.get('idempotent-replayed')).toBe('true')
      expect(replayed.headers.get('location')).toBe(placed.headers.get('location'))

      const confirmed = await call('POST', `/orders/${id}/confirm`, { headers: { 'X-Idempotency-Key': newKey() } })
      expect(confirmed.status).toBe(200)
      expect((await call('GET', `/orders/${id}`)).body).toEqual(confirmed.body)

      const listed = await call('GET', '/orders?status=CONFIRMED&customer_id=1&limit=1')
      expect(listed.body.data).toEqual([expect.objectContaining({ id, status: 'CONFIRMED' })])
    })

    it('then a list continues at its link', async () => {
      for (let i = 0; i < 2; i++) await call('POST', '/orders', { body })
      const first = await call('GET', '/orders?limit=1')
      const [, query] = /^<(\?.*)>; rel="next"$/.exec(first.headers.get('link') ?? '') ?? []
      const second = await call('GET', `/orders${query}`)
      expect(second.status).toBe(200)
      expect(second.body.data[0].id).toBeLessThan(first.body.data[0].id)
    })

    it('then refusals are problem documents', async () => {
      const unauthorized = await call('GET', '/orders', { token: null })
      expectProblem(unauthorized, 401, 'unauthorized')
      expect(unauthorized.headers.get('www-authenticate')).toMatch(/^Bearer/)
      expectProblem(await call('GET', '/nowhere'), 404, 'route_not_found')
      expectProblem(await call('GET', '/orders/999999999'), 404, 'not_found')
      const wrongMethod = await call('DELETE', '/orders/1')
      expectProblem(wrongMethod, 405, 'method_not_allowed')
      expect(wrongMethod.headers.get('allow')).toContain('GET')
      expectProblem(await call('POST', '/orders', { body: '{"customer_id":' }), 400, 'malformed_json')
      expectProblem(await call('GET', '/orders?limit=1000'), 400, 'validation_failed')
    })

    it('then its page and its document are served', async () => {
      await expectDocs(call, 'Orders')
    })

    it('then text of every script arrives and returns unchanged', async () => {
      const name = 'Müller & Söhne – 株式会社 🧾'
      const product = { sku: `SKU-${newKey()}`, name, price_cents: 1, stock: 1 }
      const { body } = await call('POST', '/products', { body: product })
      expect((await call('GET', `/products/${body.id}`)).body.name).toBe(name)
      const found = await call('GET', `/products?search=${encodeURIComponent('株式会社 söhne')}&limit=100`)
      expect(found.body.data.map(({ id }: { id: number }) => id)).toContain(body.id)
    })
  })

  describe.each(WAYS)('when Customers is reached through $title', (way) => {
    const call: ApiClient['call'] = (...request) =>
      callerOf(deployment.instances.customers, way, '/customers-api', deployment.token)(...request)

    it('then a customer is created, read, changed and deleted', async () => {
      const customer = { name: 'ACME', email: `${newKey()}@example.com`, phone: null }
      const made = await call('POST', '/customers', { body: customer })
      expect(made.status).toBe(201)
      const { id } = made.body
      const front = way.front('/customers-api')
      expect(locationOf(made, `${front}/customers`)).toBe(`${front}/customers/${id}`)
      expect((await call('GET', `/customers/${id}`)).text).toBe(made.text)
      const headers = { 'If-Match': made.headers.get('etag') ?? '' }
      expect((await call('PUT', `/customers/${id}`, { body: { ...customer, name: 'New' }, headers })).status).toBe(200)
      expect((await call('PUT', `/customers/${id}`, { body: customer, headers })).status).toBe(412)
      const deleted = await call('DELETE', `/customers/${id}`)
      expect({ status: deleted.status, text: deleted.text }).toEqual({ status: 204, text: '' })
      expectProblem(await call('GET', `/customers/${id}`), 404, 'not_found')
    })

    it('then nothing internal exists, and the service token opens nothing', async () => {
      const token = SECRETS.SERVICE_TOKEN
      expectProblem(await call('GET', '/internal/customers/1'), 404, 'route_not_found')
      for (const path of ['/internal/customers/1', '/internal', '/dev/internal/clients/demo', '/internal/']) {
        expectProblem(await call('GET', path, { token }), 404, 'route_not_found')
      }
      expectProblem(await call('POST', '/internal/customers/lookups', { token, body: {} }), 404, 'route_not_found')
      for (const path of ['/%69nternal/customers/1', '/internal%2Fcustomers/1', '//internal/customers/1']) {
        expect([401, 404]).toContain((await call('GET', path, { token })).status)
      }
      expectProblem(await call('GET', '/customers/1', { token }), 401, 'unauthorized')
    })

    it('then its page and document are served, and the demo client is refused', async () => {
      await expectDocs(call, 'Customers')
      const token = await call('POST', '/auth/token', {
        token: null,
        body: 'grant_type=client_credentials&client_id=demo&client_secret=demo-secret',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      })
      expectProblem(token, 401, 'invalid_client')
    })
  })

  describe.each(WAYS)('when the orchestrator is reached through $title', (way) => {
    const call: ApiClient['call'] = (...request) =>
      callerOf(deployment.instances.orchestrator, way, '', deployment.token)(...request)
    const path = '/orchestrator/create-and-confirm-order'

    it('then one order for each key is created and confirmed through the other functions', async () => {
      const body = {
        customer_id: 1,
        items: [{ product_id: 1, qty: 2 }],
        idempotency_key: newKey(),
        correlation_id: 'req-789',
      }
      const first = await call('POST', path, { body })
      expect(first.status).toBe(201)
      expect(first.body).toMatchObject({
        success: true,
        correlationId: 'req-789',
        data: { customer: { id: 1 }, order: { status: 'CONFIRMED', total_cents: 259_800 } },
      })
      const again = await call('POST', path, { body })
      expect({ status: again.status, text: again.text }).toEqual({ status: 201, text: first.text })
      expect(again.headers.get('idempotent-replayed')).toBe('true')
      const order = await deployment.orders.get(`/orders/${first.body.data.order.id}`)
      expect(order.body).toMatchObject({ status: 'CONFIRMED', total_cents: 259_800 })
    })

    it('then refusals have its envelope', async () => {
      expectFailure(await call('POST', path, { body: {}, token: null }), 401, 'unauthorized')
      expectFailure(await call('POST', path, { body: '{' }), 400, 'malformed_json')
      const body = { customer_id: 999_999, items: [{ product_id: 1, qty: 2 }], idempotency_key: newKey() }
      expectFailure(await call('POST', path, { body }), 422, 'customer_not_found')
      expectFailure(await call('GET', path), 405, 'method_not_allowed')
    })

    it('then its page and its document are served', async () => {
      await expectDocs(call, 'Orchestrator')
    })
  })

  it('when recorded events arrive with a token, then they succeed', async () => {
    const { orders, orchestrator } = deployment.instances
    const placed = await resultOf(orchestrator, authorized(recorded('rest-api'), deployment.token))
    expect(placed.statusCode).toBe(201)
    for (const name of ['http-api', 'http-api-stage'] as const) {
      const result = await resultOf(orders, authorized(recorded(name), deployment.token))
      expect(result.statusCode).toBe(201)
      expect(JSON.parse(result.body)).toMatchObject({ status: 'CREATED', customer_id: 1 })
    }
    for (const name of ['rest-api-own-domain', 'function-url'] as const) {
      const result = await resultOf(orders, authorized(recorded(name), deployment.token))
      expect(result.statusCode).toBe(200)
      const { data } = JSON.parse(result.body)
      expect(data).toEqual([expect.objectContaining({ status: 'CONFIRMED' }), expect.anything()])
    }
  })

  it('when a header or a parameter has several values, then all of them arrive', async () => {
    const request = { method: 'GET', path: '/orders-api/orders', query: 'limit=1', headers: authorization(deployment) }
    const event: Record<string, unknown> = {
      ...restEvent('rest-api', '/dev', request),
      headers: null,
      queryStringParameters: null,
    }
    expect((await resultOf(deployment.instances.orders, event)).statusCode).toBe(200)
    const { multiValueHeaders, ...single } = restEvent('rest-api', '/dev', request)
    const response = await resultOf(deployment.instances.orders, { ...single, multiValueQueryStringParameters: null })
    expect({ status: response.statusCode, type: response.headers?.['content-type'] }).toEqual({
      status: 200,
      type: 'application/json',
    })
    const twice = { ...event, multiValueQueryStringParameters: { limit: ['1', '2'] } }
    expect(JSON.parse((await resultOf(deployment.instances.orders, twice)).body).code).toBe('validation_failed')
    const keys = { ...Object(event.multiValueHeaders), 'Idempotency-Key': ['one'], 'X-Idempotency-Key': ['another'] }
    const refused = await resultOf(deployment.instances.orders, {
      ...restEvent('rest-api', '/dev', { ...request, method: 'POST', path: '/orders-api/orders/1/confirm', query: '' }),
      headers: null,
      multiValueHeaders: keys,
    })
    expect(JSON.parse(refused.body).code).toBe('invalid_idempotency_key')
  })

  it('when the schedule fires, then ended holds are released and expired keys purged', async () => {
    const { db, instances, orders } = deployment
    const product = await orders.post('/products', { sku: `SKU-${newKey()}`, name: 'P', price_cents: 100, stock: 5 })
    const key = newKey()
    const body = { customer_id: 1, items: [{ product_id: product.body.id, qty: 2 }] }
    const placed = await orders.post('/orders', body, { headers: { 'idempotency-key': key } })
    expect(placed.status).toBe(201)
    const past = { expires_at: '2020-01-01 00:00:00.000' }
    await db.updateTable('orders').set(past).where('id', '=', placed.body.id).execute()
    await db.updateTable('idempotency_keys').set(past).where('key', '=', key).execute()

    expect(await instances.sweep.invoke(recorded('schedule'))).toEqual({ released: 1, purged: 1 })
    expect((await orders.get(`/orders/${placed.body.id}`)).body.status).toBe('CANCELED')
    expect((await orders.get(`/products/${product.body.id}`)).body.stock).toBe(5)
    expect(await instances.sweep.invoke(recorded('schedule'))).toEqual({ released: 0, purged: 0 })
    const lines = await until(
      () => (instances.sweep.log().length > 1 ? instances.sweep.log() : undefined),
      () => instances.sweep.stdout(),
    )
    expect(lines).toEqual([
      expect.objectContaining({ msg: 'swept', service: 'orders', released: 1, purged: 1 }),
      expect.objectContaining({ msg: 'swept', released: 0, purged: 0 }),
    ])
  })

  describe('when an endpoint wants the events of orders', () => {
    const items = [{ product_id: 1, qty: 1 }]
    const place = async () => (await deployment.orders.post('/orders', { customer_id: 1, items })).body.id
    const fire = (instance = deployment.instances.events) => instance.invoke(recorded('schedule'))

    /** Until the test ends. */
    async function endpointAt(url: string): Promise<{ id: number; secret: string }> {
      const { orders } = deployment
      const { status, body } = await orders.post('/webhook-endpoints', { url, event_types: ['order.*'] })
      expect(status).toBe(201)
      onTestFinished(async () => void (await orders.call('DELETE', `/webhook-endpoints/${body.id}`)))
      return body
    }

    it('then the next minute sends them signed, and says how many', async () => {
      const receiver = await startReceiver()
      const { secret } = await endpointAt(receiver.url)
      const id = await place()
      const position = expect.any(Number)
      expect(await fire()).toEqual({ position, attempts: 1, delivered: 1 })
      expect(receiver.received.map(({ event }) => event)).toEqual([
        expect.objectContaining({ type: 'order.placed', resource: { type: 'order', id, version: 1 } }),
      ])
      receiver.verifyAll(secret)
      expect(await fire()).toEqual({ position, attempts: 0, delivered: 0 })
      const { events } = deployment.instances
      const line = await until(
        () => events.log().find(({ attempts }) => attempts === 1),
        () => events.stdout(),
      )
      expect(line).toMatchObject({ msg: 'dispatched', service: 'orders', delivered: 1 })
    })

    it('then a receiver that fails counts as an attempt, and a ping says what it answered', async () => {
      const receiver = await startReceiver()
      const { id } = await endpointAt(receiver.url)
      receiver.answer = () => ({ status: 500, body: 'down' })
      await place()
      expect(await fire()).toMatchObject({ attempts: 1, delivered: 0 })
      const ping = await deployment.orders.post(`/webhook-endpoints/${id}/ping`)
      expect(ping.body.attempt).toMatchObject({ status: 500, response: 'down' })
    })

    it('then runs that overlap send each event once', async () => {
      const receiver = await startReceiver()
      const { secret } = await endpointAt(receiver.url)
      const { aws, database } = deployment
      const second = await startUntilTestEnds('events', { ...aws.variables, ...database, ...LOOPBACK, ...SECRETS })
      const placed = [await place(), await place(), await place(), await place(), await place(), await place()]
      await Promise.all([fire(), fire(second)])
      expect(receiver.received.map(({ event }) => event.resource.id).sort()).toEqual(placed.sort())
      receiver.verifyAll(secret)
    })
  })

  it('when the keys of webhooks are in no parameter, then all else works', async () => {
    const { database, token, aws } = deployment
    const { WEBHOOK_KEYS: _, ...before } = SECRETS
    const variables = { ...aws.variables, ...before, ...database, SSM_PARAMETERS: '/b2b-orders/before/webhook-keys' }
    const orders = await startUntilTestEnds('orders', variables)
    const call = callerOf(orders, restApi(), '/orders-api', token)
    expect((await call('GET', '/orders?limit=1')).status).toBe(200)
    const body = { url: 'https://erp.example/hooks', event_types: ['order.*'] }
    expectProblem(await call('POST', '/webhook-endpoints', { body }), 503, 'unavailable')
    const events = await startUntilTestEnds('events', variables)
    expect(await events.invoke(recorded('schedule'))).toMatchObject({ attempts: 0 })
  })

  it('when all of it is behind one gateway, then `Location` leads to the resource', async () => {
    const customer = await deployment.customers.post('/customers', { name: 'ACME', email: `${newKey()}@example.com` })
    const url = new URL(customer.headers.get('location') ?? '', `${deployment.customers.base}/customers`)
    expect(url.pathname).toBe(`/dev/customers-api/customers/${customer.body.id}`)
    const found = await fetch(url, { headers: authorization(deployment) })
    expect(await found.json()).toEqual(customer.body)
    for (const service of ['customers', 'orders', 'orchestrator'] as const) {
      expect((await deployment[service].get('/ready')).body).toMatchObject({ status: 'ok' })
    }
  })

  it('when a page is opened at the gateway, then each link reaches its function', async () => {
    for (const service of ['customers', 'orders', 'orchestrator'] as const) {
      const { base } = deployment[service]
      const page = await deployment[service].get('/docs', { token: null })
      const addresses = [...page.text.matchAll(/(?:src|href)="([^"]*)"|url: '([^']*)'/g)].map(([, a, b]) => a ?? b)
      expect(addresses.length).toBeGreaterThanOrEqual(4)
      for (const address of addresses) {
        const response = await fetch(new URL(String(address), `${base}/docs`))
        await response.arrayBuffer()
        expect({ address, status: response.status }).toEqual({ address, status: 200 })
      }
    }
  })

  it('when everything is done, then only idle database connections are left', async () => {
    const withPool: FunctionName[] = ['customers', 'orders', 'sweep', 'events']
    for (const name of FUNCTIONS) {
      await expectAtRest(deployment.instances[name], engine === 'mysql' && withPool.includes(name) ? 2 : 0)
    }
  })

  it('when no more events come and connections close, then the process ends', async () => {
    const variables = { ...SECRETS, ...deployment.database }
    const instance = await startUntilTestEnds('customers', variables)
    const call = callerOf(instance, restApi(), '/customers-api', deployment.token)
    expect((await call('GET', '/customers?limit=1')).status).toBe(200)
    const ended = instance.hangUp()
    // Lambda would freeze the connections with the process.
    if (engine === 'mysql') await closeConnections(deployment)
    expect(await ended).toBe(0)
  })

  it('when a query fails, then only the log says where in the sources', async () => {
    const empty = await createTestDatabase(engine, { migrated: false })
    onTestFinished(() => empty.drop())
    const instance = await startUntilTestEnds('customers', { ...SECRETS, ...empty.variables })
    const response = await callerOf(instance, restApi(), '/customers-api', deployment.token)('GET', '/customers/1')
    expectProblem(response, 500, 'internal_error')
    expect(response.text).not.toMatch(/customers|select|\bat |\.ts|\.mjs|table/i)
    const { err, correlation_id } = await failureIn(instance, 'failed')
    expect(err.stack).toMatch(/\bsrc\/(identity|customers|platform\/\w+)\/[\w-]+\.ts:\d+:\d+/)
    expect(err.stack).not.toContain('app.mjs')
    expect(correlation_id).toBe(response.headers.get('x-correlation-id'))
  })

  it('when connections close during a freeze, then the next event succeeds', async () => {
    const variables = { ...SECRETS, ...deployment.database }
    const instance = await startUntilTestEnds('customers', variables)
    const call = callerOf(instance, restApi(), '/customers-api', deployment.token)
    expect((await call('GET', '/customers/1')).status).toBe(200)
    process.kill(instance.pid, 'SIGSTOP')
    if (engine === 'mysql') await closeConnections(deployment)
    const response = call('GET', '/customers/1')
    process.kill(instance.pid, 'SIGCONT')
    expect((await response).status).toBe(200)
  })
})

describe('the docs function', () => {
  let docs: LambdaInstance
  beforeAll(async () => {
    docs = await startInstanceOf(unpacked.docs, {})
  })
  afterAll(() => docs.stop())

  const call = (way: Way, path: string) => resultOf(docs, way.eventOf({ method: 'GET', path }))

  describe.each(WAYS)('when it is reached through $title', (way) => {
    it.each(['', '/customers-api', '/orders-api'])('then it serves the files below "%s/docs"', async (prefix) => {
      for (const file of ASSETS) {
        const result = await call(way, `${prefix}/docs/swagger-ui-dist/${file}`)
        expect(result.statusCode).toBe(200)
        expect(bytesOf(result).equals(readFileSync(join(ROOT, 'node_modules/swagger-ui-dist', file)))).toBe(true)
        expect(result.isBase64Encoded).toBe(file.endsWith('.png'))
        const headers = headersOf(result)
        expect(headers.get('cache-control')).toBe('public, max-age=86400')
        expect(headers.get('x-content-type-options')).toBe('nosniff')
        expect(headers.get('content-type')).toMatch(/^(image\/png|text\/(css|javascript); charset=utf-8)$/)
      }
    })

    it.each(['package.json', 'LICENSE', 'index.html', '..%2f..%2findex.mjs', '__proto__'])(
      'then %s is not found',
      async (file) => {
        expect((await call(way, `/docs/swagger-ui-dist/${file}`)).statusCode).toBe(404)
      },
    )
  })

  it('when the recorded event is for an image, then the response is base64', async () => {
    const result = await resultOf(docs, recorded('rest-api-file'))
    expect({ status: result.statusCode, base64: result.isBase64Encoded }).toEqual({ status: 200, base64: true })
    expect(result.multiValueHeaders?.['content-type']).toEqual(['image/png'])
  })
})

describe('a start that fails', () => {
  const bad: { title: string; name: FunctionName; variables: Variables; says: string[] }[] = [
    {
      title: 'secrets are missing',
      name: 'customers',
      variables: {},
      says: ['JWT_SECRET: must be set in production', 'SERVICE_TOKEN: must be set in production'],
    },
    {
      title: 'a secret is a published one',
      name: 'orders',
      variables: { ...SECRETS, SERVICE_TOKEN: 'internal123', CUSTOMERS_API_BASE: 'https://customers.example' },
      says: ['SERVICE_TOKEN: this value is published'],
    },
    {
      title: 'nobody said where the others are',
      name: 'orchestrator',
      variables: { ...SECRETS, CUSTOMERS_API_BASE: '', ORDERS_API_BASE: '' },
      says: ['CUSTOMERS_API_BASE: must be set in production', 'ORDERS_API_BASE: must be set in production'],
    },
    {
      title: 'a number is none',
      name: 'sweep',
      variables: { DB_PORT: 'x' },
      says: ['DB_PORT: must be a whole number'],
    },
  ]

  it.each(bad)('when $title, then each invocation of $name is rejected and the log says why', async (given) => {
    const instance = await startUntilTestEnds(given.name, given.variables)
    const event = given.name === 'sweep' ? recorded('schedule') : recorded('function-url')
    for (let i = 0; i < 2; i++) await expect(instance.invoke(event)).rejects.toThrow(/^EnvError: /)
    const { err } = await failureIn(instance, 'the start failed')
    for (const text of given.says) expect(err.message).toContain(text)
    expect(err.stack).toMatch(/\bsrc\/(platform\/\w+|compose|functions)\/[\w-]+\.ts:\d+:\d+/)
    await expectAtRest(instance, 0)
  })

  it('when SSM refuses, then the log says why, and the next invocation tries again', async () => {
    const aws = await startAws()
    onTestFinished(() => aws.stop())
    aws.failWith = { status: 400, body: '{"__type":"AccessDeniedException"}' }
    const { parameters } = unpacked.orchestrator
    const instance = await startUntilTestEnds('orchestrator', { ...aws.variables, SSM_PARAMETERS: parameters })
    await expect(instance.invoke(recorded('function-url'))).rejects.toThrow('AccessDeniedException')
    const { err } = await failureIn(instance, 'the start failed')
    expect(err.message).toContain('SSM refused /b2b-orders/dev/service-token, /b2b-orders/dev/jwt-secret')
    expect(instance.stdout()).not.toContain(String(aws.variables.AWS_SECRET_ACCESS_KEY))

    aws.failWith = undefined
    aws.parameters.set('/b2b-orders/dev/service-token', 'internal123')
    await expect(instance.invoke(recorded('function-url'))).rejects.toThrow('JWT_SECRET: SSM has no parameter')
    aws.parameters.set('/b2b-orders/dev/jwt-secret', SECRETS.JWT_SECRET)
    await expect(instance.invoke(recorded('function-url'))).rejects.toThrow('SERVICE_TOKEN: this value is published')
    aws.parameters.set('/b2b-orders/dev/service-token', SECRETS.SERVICE_TOKEN)
    const call = callerOf(instance, restApi(), '', '')
    for (let i = 0; i < 3; i++) expect((await call('GET', '/health', { token: null })).status).toBe(200)
    const asked = aws.requests.length
    expect((await call('GET', '/health', { token: null })).status).toBe(200)
    expect(aws.requests).toHaveLength(asked)
  })

  it('when the database is unreachable, then callers get 503 and only the log says why', async () => {
    const variables = { ...SECRETS, DB_HOST: '127.0.0.1', DB_PORT: '1', DB_USER: 'u', DB_PASS: 'p', DB_NAME: 'n' }
    const instance = await startUntilTestEnds('customers', variables)
    const call = callerOf(instance, restApi(), '/customers-api', '')
    expect((await call('GET', '/health', { token: null })).body).toEqual({ status: 'ok' })
    const response = await call('GET', '/ready', { token: null })
    expect(response.status).toBe(503)
    expect(response.text).not.toMatch(/ECONNREFUSED|127\.0\.0\.1/)
    const { err } = await failureIn(instance, 'readiness')
    expect(err.stack).toContain('ECONNREFUSED 127.0.0.1:1')
  })
})

/** A deployment for the tests of the surrounding suite. Use its members only inside tests. */
function useDeployment(start: () => Promise<Deployment>): Deployment {
  const deployment = {} as Deployment
  beforeAll(async () => {
    Object.assign(deployment, await start())
  })
  afterAll(() => deployment.stop?.())
  return deployment
}

async function startUntilTestEnds(name: FunctionName, variables: Variables): Promise<LambdaInstance> {
  const instance = await startInstanceOf(unpacked[name], variables)
  onTestFinished(() => instance.stop())
  return instance
}

function restApi(): Way {
  const [first] = WAYS
  if (first === undefined) throw new Error('there is a REST API')
  return first
}

async function resultOf(instance: LambdaInstance, event: unknown): Promise<FunctionResult> {
  return (await instance.invoke(event)) as FunctionResult
}

function authorization({ token }: Deployment): Record<string, string> {
  return { Authorization: `Bearer ${token}` }
}

/** The event with a valid token; the recorded ones have none. */
function authorized(event: ReturnType<typeof recorded>, token: string) {
  const Authorization = `Bearer ${token}`
  return {
    ...event,
    headers: { ...event.headers, Authorization },
    ...(event.multiValueHeaders && {
      multiValueHeaders: { ...event.multiValueHeaders, Authorization: [Authorization] },
    }),
  }
}

/** The path that `Location` names, resolved by the path that the caller sent. */
function locationOf({ headers }: ApiResponse, sent: string): string {
  return new URL(headers.get('location') ?? '', `https://api.example${sent}`).pathname
}

function newKey(): string {
  return randomBytes(12).toString('hex')
}

async function expectDocs(call: ApiClient['call'], title: string): Promise<void> {
  const page = await call('GET', '/docs', { token: null })
  expect({ status: page.status, type: page.headers.get('content-type') }).toEqual({
    status: 200,
    type: 'text/html; charset=UTF-8',
  })
  expect(page.text).toContain(`<title>${title}`)
  const document = await call('GET', '/openapi.json', { token: null })
  expect(document.body.info.title).toBe(title)
}

/** Expects that soon at most so many sockets, and nothing else, keep an instance alive. */
async function expectAtRest(instance: LambdaInstance, maxSockets: number): Promise<void> {
  let held: string[] = []
  await until(
    async () => {
      held = await instance.heldOpenBy()
      return held.length <= maxSockets && held.every((kind) => kind === 'TCPSocketWrap') ? true : undefined
    },
    () => `it is held open by ${held}\n${instance.stdout()}`,
  )
}

/** The log line of a failure. */
async function failureIn(instance: LambdaInstance, msg: string) {
  const line = await until(
    () => instance.log().find((it) => it.msg === msg),
    () => `${instance.stdout()}\n${instance.stderr()}`,
  )
  const { err, correlation_id } = line as unknown as {
    err: { message: string; stack: string }
    correlation_id?: string
  }
  return { err, correlation_id }
}

/** Closes idle connections as a server does after a timeout, except the one of this query. */
async function closeConnections({ db, database }: Deployment): Promise<void> {
  await db.connection().execute(async (own) => {
    const idle = async () => {
      const { rows } = await sql<{ id: number }>`select id as id from information_schema.processlist
        where db = ${database.DB_NAME} and command = 'Sleep' and id <> connection_id()`.execute(own)
      return rows.map(({ id }) => Number(id))
    }
    // A connection may end before it is killed.
    for (const id of await idle()) await sql`kill ${sql.lit(id)}`.execute(own).catch(() => {})
    await until(
      async () => ((await idle()).length === 0 ? true : undefined),
      () => 'connections are still open',
    )
  })
}

/** The file of a package that is uploaded. */
function zipOf({ files }: Packages, name: FunctionName): Buffer {
  const zip = files[`${name}.zip`]
  if (zip === undefined) throw new Error(`there is no package of ${name}`)
  return zip
}

function typesOf({ Resources }: Template, type: string) {
  return Object.values(Resources).filter(({ Type }) => Type === type)
}

function byJson(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1
}

interface Grant {
  Effect: string
  Action: string[]
  Resource: unknown
  Condition?: unknown
}

/** The rights of a function's role. */
function grantsOf(template: Template, name: string): Grant[] {
  const policies: unknown[] = template.Resources[roleOf(name)]?.Properties.Policies
  return policies.flatMap((policy) => decided(template, policy).PolicyDocument?.Statement ?? [])
}

/** A value of the template with its conditions resolved. */
// biome-ignore lint/suspicious/noExplicitAny: values of every kind, and the expectations check them.
function decided({ Conditions }: Template, value: any): any {
  if (value['Fn::If'] === undefined) return value
  const [condition, yes, no] = value['Fn::If']
  const [a, b] = Conditions?.[condition]?.['Fn::Equals'] ?? []
  return a === b ? yes : no
}

function capital(name: string): string {
  return `${name.charAt(0).toUpperCase()}${name.slice(1)}`
}

function roleOf(name: string): string {
  return `${capital(name)}Role`
}

/** The parsed variables of a function. */
function settingsOf(template: Template, name: string): unknown {
  const { Variables: set } = resourceOf(template, name).Properties.Environment
  return { ...parseEnv({ ...SECRETS, ...set }), parameters: set.SSM_PARAMETERS }
}

/** The function behind each `METHOD /path`. */
function routesOf({ Resources }: Template): Record<string, string> {
  const pathOf = (reference: { Ref?: string }): string => {
    const resource = reference.Ref === undefined ? undefined : Resources[reference.Ref]
    return resource === undefined ? '' : `${pathOf(resource.Properties.ParentId)}/${resource.Properties.PathPart}`
  }
  return Object.fromEntries(
    typesOf({ Resources }, 'AWS::ApiGateway::Method').map(({ Properties }) => {
      const [, target] = /"Fn::GetAtt":\["(\w+LambdaFunction)"/.exec(JSON.stringify(Properties.Integration.Uri)) ?? []
      return [`${Properties.HttpMethod} ${pathOf(Properties.ResourceId) || '/'}`, String(target)]
    }),
  )
}
