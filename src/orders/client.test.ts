import { expect, it } from 'vitest'
import type { Caller } from '../platform/app.ts'
import { SERVICE } from '../platform/auth.ts'
import { createLocalOrdersClient } from './client.ts'

it('when Orders is in the same process, then it is called as the service, on behalf of the caller', async () => {
  const callers: Caller[] = []
  const answer = async (caller: Caller) => {
    callers.push(caller)
    return { status: 200, targetId: 1, body: '{}', replayed: false }
  }
  const client = createLocalOrdersClient({ placeOrder: answer, confirmOrder: answer, cancelOrder: answer })
  const trace = { correlationId: 'one', traceparent: undefined }
  const principal = { id: 'client:erp', scopes: new Set(['orders:write']), customerId: 7 }
  for (const caller of [principal, { ...SERVICE, onBehalfOf: 'client:erp' }]) {
    await client.placeOrder({ customer_id: 7, items: [] }, 'key', { principal: caller, trace })
    await client.confirmOrder(1, 'key', { principal: caller, trace })
    await client.cancelUnconfirmedOrder(1, { principal: caller, trace })
  }
  expect(callers).toEqual(
    Array.from({ length: 6 }, () => ({ principal: { ...SERVICE, onBehalfOf: 'client:erp' }, trace })),
  )
})
