import { pino } from 'pino'
import { expect, it, onTestFinished } from 'vitest'
import { type FunctionResult, headersOf, OTHER_WAYS, WAYS } from '../../testing/events.ts'
import { createTestDatabase } from '../../testing/system.ts'
import { seed } from '../compose/demo-data.ts'
import { parseEnv } from '../compose/env.ts'
import { composeCustomers } from '../compose/services.ts'
import { unsafeCast } from '../platform/core/unsafe-cast.ts'
import { createLambdaFetch } from '../platform/rpc/lambda-fetch.ts'
import { behindGateway } from './gateway.ts'

const ALL_WAYS = [...WAYS, ...OTHER_WAYS]
const SERVICE_TOKEN = 'x'.repeat(43)
const JSON_TYPE = 'application/json'
const LOOKUP = { path: '/internal/customers/1', headers: { Authorization: `Bearer ${SERVICE_TOKEN}` } }

async function customersBehindGateway(own: Record<string, string> = {}) {
  const { db, variables, drop } = await createTestDatabase('sqlite')
  onTestFinished(drop)
  await seed(db)
  const env = parseEnv({ ...variables, SERVICE_TOKEN, ...own })
  const { app } = composeCustomers(env, db, pino({ level: 'silent' }), { draining: false })
  const handle = behindGateway(app, ['/customers-api'], env.serviceTokens)
  return async (event: unknown) =>
    unsafeCast<FunctionResult>(await handle(unsafeCast<Parameters<typeof handle>[0]>(event)))
}

it.each(ALL_WAYS)('when an internal path comes through $title, then 404', async (way) => {
  const handle = await customersBehindGateway()
  const codeOf = async (path: string) => {
    const { statusCode, body } = await handle(way.eventOf({ ...LOOKUP, method: 'GET', path }))
    return `${statusCode} ${JSON.parse(body).code}`
  }
  const front = way.prefixed ? '/customers-api' : ''
  expect(await codeOf(`${front}${LOOKUP.path}`)).toBe('404 route_not_found')
  expect(await codeOf(`${front}/dev${LOOKUP.path}`)).toBe('404 route_not_found')
  // The path is refused in every spelling, also where the token would be accepted.
  expect(await codeOf(`${front}/%69nternal/customers/1`)).toMatch(/^40[14] /)
  expect(await codeOf(`${front}/customers/1`)).toBe('401 unauthorized')
})

it.each(OTHER_WAYS)('when a customer is created and searched through $title, then nothing gets lost', async (way) => {
  const handle = await customersBehindGateway()
  const ask = async (method: string, path: string, request: { query?: string; body?: object; token?: string } = {}) => {
    const { query, body, token } = request
    const headers = { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { 'Content-Type': JSON_TYPE }) }
    const event = way.eventOf({ method, path: `/customers-api${path}`, query, headers, body: JSON.stringify(body) })
    const result = await handle(event)
    return { status: result.statusCode, headers: headersOf(result), body: JSON.parse(result.body) }
  }
  expect(await ask('GET', '/health')).toMatchObject({ status: 200, body: { status: 'ok' } })
  const demo = { grant_type: 'client_credentials', client_id: 'demo', client_secret: 'demo-secret' }
  const { access_token: token } = (await ask('POST', '/auth/token', { body: demo })).body
  const made = await ask('POST', '/customers', { body: { name: 'Näh & Co', email: 'naeh@example.com' }, token })
  expect(made).toMatchObject({ status: 201, body: { name: 'Näh & Co' } })
  expect(made.headers.get('location')).toBe(`customers/${made.body.id}`)
  const found = await ask('GET', '/customers', { query: 'search=n%C3%A4h&limit=1', token })
  expect(found).toMatchObject({ status: 200, body: { data: [{ id: made.body.id }], next_cursor: null } })
  expect(await ask('GET', '/customers', { query: 'serach=x', token })).toMatchObject({ status: 400 })
})

it.each(ALL_WAYS)('when metrics are asked for through $title, then the path does not exist', async (way) => {
  const handle = await customersBehindGateway({ METRICS_TOKEN: SERVICE_TOKEN })
  const headers = { Authorization: `Bearer ${SERVICE_TOKEN}` }
  const path = `${way.prefixed ? '/customers-api' : ''}/metrics`
  const { statusCode, body } = await handle(way.eventOf({ method: 'GET', path, headers }))
  expect([statusCode, JSON.parse(body).code]).toEqual([404, 'route_not_found'])
})

it('when a function is invoked directly, then the service token opens internal paths', async () => {
  const handle = await customersBehindGateway()
  const fetchDirect = createLambdaFetch(async ({ body }) => {
    const result = JSON.stringify(await handle(JSON.parse(body)))
    return { status: 200, headers: { get: () => null }, text: async () => result }
  })
  const ask = async (headers: Record<string, string>) => {
    const signal = AbortSignal.timeout(5_000)
    const init = { method: 'GET', headers, redirect: 'manual', signal } as const
    const response = await fetchDirect(`lambda://customers-api-dev${LOOKUP.path}`, init)
    return { status: response.status, body: JSON.parse(await response.text()) }
  }
  expect(await ask(LOOKUP.headers)).toMatchObject({ status: 200, body: { id: 1 } })
  expect(await ask({ Authorization: 'Bearer another' })).toMatchObject({ status: 401 })
  expect(await ask({})).toMatchObject({ status: 401 })
})

it('when a caller forges the marks of a direct invocation, then it is not believed', async () => {
  const handle = await customersBehindGateway()
  const [way] = WAYS
  const headers = { ...LOOKUP.headers, direct: 'true', 'Content-Type': 'application/json' }
  const request = { method: 'POST', path: '/customers-api/internal/customers/lookups', query: 'direct=true', headers }
  const body = '{"direct":true,"calls":[]}'
  expect(await handle(way?.eventOf({ ...request, body }))).toMatchObject({ statusCode: 404 })
})

it.each(ALL_WAYS)('when token attempts fail behind $title, then the address it saw must wait', async (way) => {
  const { db, variables, drop } = await createTestDatabase('sqlite')
  onTestFinished(drop)
  const env = parseEnv({ ...variables, LOGIN_ATTEMPTS_PER_MINUTE: '2', TRUSTED_PROXIES: '1' })
  const { app } = composeCustomers(env, db, pino({ level: 'silent' }), { draining: false })
  const handle = behindGateway(app, ['/customers-api'])

  const statusFor = async (sourceIp: string, forwarded: string) => {
    const body = JSON.stringify({ grant_type: 'client_credentials', client_id: 'demo', client_secret: 'wrong' })
    const headers = { 'Content-Type': 'application/json', 'X-Forwarded-For': forwarded }
    const path = `${way.prefixed ? '/customers-api' : ''}/auth/token`
    const text = JSON.stringify(way.eventOf({ method: 'POST', path, headers, body }))
    const event: unknown = JSON.parse(text.replaceAll('203.0.113.24', sourceIp))
    return (await handle(unsafeCast<Parameters<typeof handle>[0]>(event))).statusCode
  }

  expect(await statusFor('192.0.2.1', '198.51.100.1')).toBe(401)
  expect(await statusFor('192.0.2.1', '198.51.100.2')).toBe(401)
  expect(await statusFor('192.0.2.1', '198.51.100.3')).toBe(429)
  expect(await statusFor('192.0.2.2', '198.51.100.1')).toBe(401)
})
