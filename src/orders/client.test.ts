import { expect, it } from 'vitest'
import type { Caller } from '../platform/http/app.ts'
import { servicePrincipal } from '../platform/http/principal.ts'
import { createLocalOrdersClient } from './client.ts'
import { SERVICE_SCOPES } from './scopes.ts'

const SERVICE = servicePrincipal(SERVICE_SCOPES)

it('when Orders is in the same process, then it is called on behalf of the caller', async () => {
  const callers: Caller[] = []
  const client = createLocalOrdersClient({
    async placeValidatedOrder(caller) {
      callers.push(caller)
      return { status: 201, targetId: 1, body: '{}', replayed: false }
    },
  })
  const trace = { correlationId: 'one', traceparent: undefined }
  const principal = { id: 'client:erp', scopes: new Set(['orders:write']), customerId: 7 }
  for (const caller of [principal, { ...SERVICE, onBehalfOf: 'client:erp' }]) {
    await client.placeOrder({ customer_id: 7, items: [], customer: null }, 'key', { principal: caller, trace })
  }
  expect(callers).toEqual(
    Array.from({ length: 2 }, () => ({ principal: { ...SERVICE, onBehalfOf: 'client:erp' }, trace })),
  )
})
