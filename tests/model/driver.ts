import { expect } from 'vitest'
import { fromRfc3339 } from '../../src/platform/core/time.ts'
import type { ApiClient, ApiRequest, ApiResponse } from '../../testing/api-client.ts'
import { expectFailure, expectProblem } from '../../testing/problems.ts'
import { endHold, expireKey, LONG_AGO } from '../../testing/rows.ts'
import type { TestSystem } from '../../testing/system.ts'
import type { Call, Caller, Requested, Seen } from './model.ts'

/** The services that one caller calls. */
export interface Callee {
  system: TestSystem
  /** The instance of Orders that this caller uses. */
  orders: ApiClient
  tokens: Record<Caller, string>
}

type HttpCall = Extract<Call, { by: Caller }>

/** Makes the call, and reduces its response to what the model covers. */
export async function send(callee: Callee, call: Call): Promise<Seen> {
  if ('by' in call) return seenIn(call, await request(callee, call))
  await letPass(callee.system, call)
  return { status: 204, text: '', body: '', etag: null, location: null, replayed: false }
}

function seenIn(call: HttpCall, response: ApiResponse): Seen {
  const { status, text, headers } = response
  const seen = {
    status,
    text,
    etag: headers.get('etag'),
    location: headers.get('location'),
    replayed: headers.get('idempotent-replayed') === 'true',
  }
  if (status < 400) {
    // `Link` and `next_cursor` must agree.
    if ('limit' in call) expect(headers.has('link')).toBe(response.body.next_cursor !== null)
    return { ...seen, body: response.body }
  }
  const expectRefusal = call.verb === 'createAndConfirm' ? expectFailure : expectProblem
  expectRefusal(response, status, response.body.code)
  const { code, lines, product_ids, order_id } = response.body
  const facts = { ...(lines && { lines }), ...(product_ids && { product_ids }), ...(order_id && { order_id }) }
  return { ...seen, body: { code, ...facts } }
}

function request({ system, orders, tokens }: Callee, call: HttpCall): Promise<ApiResponse> {
  const { customers, orchestrator } = system
  const asked: ApiRequest = { token: tokens[call.by], headers: headersOf(call) }
  switch (call.verb) {
    case 'createCustomer':
      return customers.post('/customers', call.fields, asked)
    case 'getCustomer':
      return customers.get(`/customers/${call.id}`, asked)
    case 'replaceCustomer':
      return customers.put(`/customers/${call.id}`, call.fields, asked)
    case 'deleteCustomer':
      return customers.delete(`/customers/${call.id}`, asked)
    case 'searchCustomers':
      return customers.get(`/customers?${queryOf(call, { search: call.search })}`, asked)
    case 'createProduct':
      return orders.post('/products', call.fields, asked)
    case 'getProduct':
      return orders.get(`/products/${call.id}`, asked)
    case 'changeProduct':
      return orders.patch(`/products/${call.id}`, call.change, asked)
    case 'adjustStock':
      return orders.post(`/products/${call.id}/stock-adjustments`, { delta: call.delta, reason: call.reason }, asked)
    case 'searchProducts':
      return orders.get(`/products?${queryOf(call, { search: call.search })}`, asked)
    case 'placeOrder':
      return orders.post('/orders', { ...requested(call), confirm: call.confirm }, asked)
    case 'getOrder':
      return orders.get(`/orders/${call.id}`, asked)
    case 'confirmOrder':
      return orders.post(`/orders/${call.id}/confirm`, undefined, asked)
    case 'cancelOrder':
      return orders.post(`/orders/${call.id}/cancel`, undefined, asked)
    case 'updateOrder':
      return orders.patch(`/orders/${call.id}`, { notes: call.notes }, asked)
    case 'listOrders': {
      const { status, customer_id, po_number } = call
      return orders.get(`/orders?${queryOf(call, { status, customer_id, po_number })}`, asked)
    }
    case 'createAndConfirm': {
      const body = { ...requested(call), correlation_id: 'model' }
      return orchestrator.post('/dev/orchestrator/create-and-confirm-order', body, asked)
    }
  }
}

function requested({ customer_id, items, po_number }: Requested): Requested {
  return { customer_id, items, ...(po_number && { po_number }) }
}

function headersOf(call: HttpCall): Record<string, string> {
  const key = 'key' in call ? call.key : undefined
  const ifMatch = 'ifMatch' in call ? call.ifMatch : undefined
  return {
    ...(key && { 'idempotency-key': key }),
    ...(ifMatch && { 'if-match': ifMatch }),
    ...(call.correlation && { 'x-correlation-id': call.correlation }),
  }
}

function queryOf(
  { limit, after }: Extract<HttpCall, { limit: number }>,
  filters: Record<string, string | number | undefined>,
): string {
  const given = Object.entries({ ...filters, limit, cursor: after?.cursor })
  return new URLSearchParams(
    given.flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  ).toString()
}

/** Lets time pass by changing the rows, where waiting would take too long. */
async function letPass(system: TestSystem, call: Exclude<Call, HttpCall>): Promise<void> {
  switch (call.verb) {
    case 'endHold':
      return endHold(system, call.id)
    case 'passCancelWindow':
      return passCancelWindow(system, call.id)
    case 'expireKey':
      return expireKey(system, call.key)
    case 'releaseExpiredHolds':
      await system.sweeps.releaseExpiredHolds()
  }
}

async function passCancelWindow({ db }: TestSystem, orderId: number): Promise<void> {
  const confirmed_at = fromRfc3339(LONG_AGO)
  await db
    .updateTable('orders')
    .set({ confirmed_at })
    .where('id', '=', orderId)
    .where('status', '=', 'CONFIRMED')
    .execute()
}
