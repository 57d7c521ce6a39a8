import { expect, it } from 'vitest'
import { NO_TELEMETRY } from '../platform/telemetry/telemetry.ts'
import { createCustomersClient } from './client.ts'

const FIRST_VERSION = {
  id: 7,
  name: 'ACME Corp',
  email: 'ops@acme.com',
  phone: null,
  created_at: '2026-01-05T09:00:00.000Z',
  updated_at: '2026-01-05T09:00:00.000Z',
  version: 1,
}

/** A client of a service that answers each lookup with this body. */
function clientOf(body: unknown) {
  const upstream = {
    name: 'customers',
    telemetry: NO_TELEMETRY,
    base: 'http://customers.internal',
    token: 't',
    timeoutMs: 1_000,
    attempts: 1,
  }
  return createCustomersClient({ ...upstream, fetch: async () => Response.json(body) })
}

const trace = { correlationId: 'one', traceparent: undefined }

it('when Customers is of a version without external ids, then they have their defaults', async () => {
  const customer = await clientOf(FIRST_VERSION).getCustomer(7, trace)
  expect(customer).toEqual({ ...FIRST_VERSION, external_id: null, po_policy: 'unique' })
})

it('when Customers has external ids, then they come through', async () => {
  const current = { ...FIRST_VERSION, external_id: 'ERP-1', po_policy: 'required' }
  expect(await clientOf(current).getCustomer(7, trace)).toEqual(current)
})

it('when Customers is of a later version, then its new fields are left out', async () => {
  const current = { ...FIRST_VERSION, external_id: null, po_policy: 'free' }
  expect(await clientOf({ ...current, region: 'EU' }).getCustomer(7, trace)).toEqual(current)
})
