import { describe, expect, it } from 'vitest'
import { operationsOf, readDocuments } from '../../testing/openapi.ts'
import { type Asked, createOracle, DETAILS } from './oracle.ts'
import type { RawResponse } from './raw-http.ts'

// Responses made by hand that the oracle must accept or refuse.

const documents = await readDocuments()
const operations = operationsOf(documents)
const oracle = createOracle(documents, ['a-secret'])

const ID = 'req-789'
const CUSTOMER = {
  id: 1,
  name: 'Ann',
  email: 'ann@example.com',
  phone: null,
  external_id: null,
  po_policy: 'unique',
  created_at: '2026-01-05T09:00:00.000Z',
  updated_at: '2026-01-05T09:00:00.000Z',
  version: 1,
}
const UNDOCUMENTED_200 = 'an answer that is not documented: 200 '
const CREATED = { location: 'customers/1', etag: '"1"' }

function asked(operationId: string, target: string, body: unknown, more: Partial<Asked> = {}): Asked {
  const operation = operations.find((one) => one.operationId === operationId)
  if (operation === undefined) throw new Error(`there is no ${operationId}`)
  const headers: [string, string][] = [
    ['content-type', 'application/json'],
    ['x-correlation-id', ID],
  ]
  const text = body === undefined ? '' : JSON.stringify(body)
  return {
    operation,
    due: 'judged',
    request: { method: operation.method, target, headers, body: Buffer.from(text) },
    ...more,
  }
}

function answered(status: number, body: unknown, headers: Record<string, string> = {}): RawResponse {
  const type = status < 400 ? 'application/json' : 'application/problem+json'
  const all = { 'content-type': type, 'x-correlation-id': ID, ...headers }
  return { status, headers: Object.entries(all), body: Buffer.from(JSON.stringify(body)) }
}

function refused(status: number, code: string, more = {}, headers = {}): RawResponse {
  const problem = { type: `urn:problem:${code}`, title: 'No', status, detail: 'No.', code, request_id: ID }
  return answered(status, { ...problem, ...more }, headers)
}

const add = (fields = {}, more = {}) =>
  asked('createCustomer', '/customers', { name: 'Ann', email: 'ann@example.com', ...fields }, more)
const read = asked('getCustomer', '/customers/1', undefined)
const confirm = asked('createAndConfirmOrder', '/orchestrator/create-and-confirm-order', {
  customer_id: 1,
  items: [{ product_id: 1, qty: 1 }],
})

/** Faults without the details of one response. */
function faultsOf(to: Asked, response: RawResponse): string[] {
  return oracle(to, { response, broken: [] }).map((fault) => fault.split(DETAILS)[0] ?? '')
}

describe('the oracle', () => {
  it.each([
    ['a creation', add(), answered(201, CUSTOMER, CREATED)],
    ['a refusal of what is forbidden', add({ name: '' }), refused(400, 'validation_failed', { errors: [] })],
    ['a conflict', add(), refused(409, 'email_taken')],
    ['a refusal with a token in it', read, refused(404, 'not_found', { detail: 'eyJhb.eyJpc.ERERGqTi-ER_DUP-zod-x' })],
    ['a thing that is not there', read, refused(404, 'not_found')],
    [
      'an odd request that is taken for another route',
      asked('getCustomer', '/customers/1', undefined, { due: 'open' }),
      refused(404, 'not_found'),
    ],
  ])('when it is %s as documented, then there is no fault', (_, to, response) => {
    expect(faultsOf(to, response)).toEqual([])
  })

  it.each([
    ['a failure', add(), refused(500, 'internal_error'), ['answered 500']],
    ['a status of its own', read, answered(202, CUSTOMER), ['an answer that is not documented: 202 ']],
    [
      'a code of another route',
      read,
      refused(409, 'email_taken'),
      ['an answer that is not documented: 409 email_taken'],
    ],
    ['a field too few', read, answered(200, { ...CUSTOMER, id: undefined }, { etag: '"1"' }), [UNDOCUMENTED_200]],
    ['without its headers', read, answered(200, CUSTOMER), [UNDOCUMENTED_200]],
    ['for another request', read, refused(404, 'not_found', { request_id: 'other' }), ['a request_id of its own']],
    [
      'a stack',
      read,
      refused(404, 'not_found', { detail: 'Error: no\n    at work (/app/src/orders/store.ts:7:3)' }),
      expect.arrayContaining(['its insides show: /\\/(src|dist)\\//']),
    ],
    [
      'a code of the database',
      read,
      refused(404, 'not_found', { detail: 'ER_DUP_ENTRY' }),
      [expect.stringMatching('its insides show')],
    ],
    [
      'SQL',
      read,
      refused(404, 'not_found', { detail: 'select * from customers' }),
      [expect.stringMatching('its insides show')],
    ],
    ['a secret', read, refused(404, 'not_found', { detail: 'a-secret' }), ['a secret shows']],
    ['no problem document', read, answered(404, { error: 'x' }), expect.arrayContaining(['no problem document'])],
    ['a refusal that says nothing', read, refused(404, 'not_found', { detail: ' ' }), ['no detail']],
    [
      'JSON of another kind',
      read,
      refused(404, 'not_found', {}, { 'content-type': 'application/json' }),
      expect.arrayContaining(['not application/problem+json']),
    ],
    [
      "not in the orchestrator's envelope",
      confirm,
      refused(404, 'not_found'),
      expect.arrayContaining(["not in the orchestrator's envelope"]),
    ],
    [
      'with another correlation id',
      read,
      answered(200, CUSTOMER, { etag: '"1"', 'x-correlation-id': 'other' }),
      ['another X-Correlation-Id than was asked for'],
    ],
    [
      'a success for what is forbidden',
      add({ name: 'two\nlines' }),
      answered(201, CUSTOMER, CREATED),
      [expect.stringMatching('accepted what the document forbids: the body: /name')],
    ],
    [
      'a success for what no caller may do',
      add({}, { due: 'refused' }),
      answered(201, CUSTOMER, CREATED),
      ['accepted what it must refuse'],
    ],
    [
      'a success for a query that no route has',
      asked('getCustomer', '/customers/1?page=2', undefined),
      answered(200, CUSTOMER, { etag: '"1"' }),
      ['accepted what the document forbids: a name in the query that is not listed'],
    ],
    [
      'a refusal of an empty value that is as good as none',
      asked('listOrders', '/orders?status=&=1', undefined),
      refused(400, 'validation_failed', { errors: [{ path: 'status', message: 'No' }] }),
      ['refused what the document allows: validation_failed at status'],
    ],
    [
      'a refusal of what is allowed',
      add(),
      refused(400, 'validation_failed', { errors: [{ path: 'name', message: 'No' }] }),
      ['refused what the document allows: validation_failed at name'],
    ],
    [
      'a conflict for what is forbidden',
      add({ email: 'nobody' }),
      refused(409, 'email_taken'),
      [expect.stringMatching('looked past what the document forbids: the body: /email')],
    ],
  ])('when it is %s, then that is a fault', (_, to, response, faults) => {
    expect(faultsOf(to, response)).toEqual(faults)
  })

  it('when no response comes, then that is a fault', () => {
    const broken = ['no answer came within 10 s']
    expect(oracle(read, { broken })).toEqual(broken)
  })
})
