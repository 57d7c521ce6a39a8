import { pino } from 'pino'
import { expect, it, onTestFinished } from 'vitest'
import { WAYS } from '../../tests/support/events.ts'
import { createTestDatabase } from '../../tests/support/system.ts'
import { composeCustomers } from '../entrypoints/composing.ts'
import { parseEnv } from '../platform/env.ts'
import { trusted } from '../platform/trusted.ts'
import { behindGateway } from './gateway.ts'

it.each(WAYS)(
  'when attempts to get a token fail behind $title, then the address that it saw has to wait',
  async (way) => {
    const { db, variables, drop } = await createTestDatabase('sqlite')
    onTestFinished(drop)
    const env = parseEnv({ ...variables, LOGIN_ATTEMPTS_PER_MINUTE: '2', TRUSTED_PROXIES: '1' })
    const { app } = composeCustomers(env, db, pino({ level: 'silent' }), { draining: false })
    const answer = behindGateway(app, ['/customers-api'])

    const statusFor = async (sourceIp: string, forwarded: string) => {
      const body = JSON.stringify({ grant_type: 'client_credentials', client_id: 'demo', client_secret: 'wrong' })
      const headers = { 'Content-Type': 'application/json', 'X-Forwarded-For': forwarded }
      const path = `${way.prefixed ? '/customers-api' : ''}/auth/token`
      const text = JSON.stringify(way.eventOf({ method: 'POST', path, headers, body }))
      const event: unknown = JSON.parse(text.replaceAll('203.0.113.24', sourceIp))
      return (await answer(trusted<Parameters<typeof answer>[0]>(event))).statusCode
    }

    expect(await statusFor('192.0.2.1', '198.51.100.1')).toBe(401)
    expect(await statusFor('192.0.2.1', '198.51.100.2')).toBe(401)
    expect(await statusFor('192.0.2.1', '198.51.100.3')).toBe(429)
    expect(await statusFor('192.0.2.2', '198.51.100.1')).toBe(401)
  },
)
