import { expect, it } from 'vitest'
import type { ApiClient } from '../../../testing/api-client.ts'
import { expectProblem } from '../../../testing/problems.ts'
import { newKey } from '../../../testing/rows.ts'
import { useSystem } from '../../../testing/system.ts'

const system = useSystem('sqlite')

const fieldsOf = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`field_${i}`, 0]))

/** Routes that accept a body with many unknown fields and no other fault. */
const BODIES: Record<string, (fields: object) => ReturnType<ApiClient['post']>> = {
  'POST /customers': (fields) =>
    system.customers.post('/customers', { name: 'A', email: `${newKey()}@example.com`, ...fields }),
  'POST /orders': (fields) =>
    system.orders.post('/orders', { customer_id: 1, items: [{ product_id: 1, qty: 1 }], ...fields }),
  'POST /orchestrator/create-and-confirm-order': (fields) =>
    system.orchestrator.post('/orchestrator/create-and-confirm-order', {
      customer_id: 1,
      items: [{ product_id: 1, qty: 1 }],
      idempotency_key: newKey(),
      ...fields,
    }),
}

it.each(Object.entries(BODIES))('%s lists 50 errors and counts the rest', async (_, send) => {
  const response = await send(fieldsOf(2_000))
  expectProblem(response, 400, 'validation_failed')
  expect(response.body.errors).toHaveLength(50)
  expect(response.body.errors[49]).toEqual({ path: 'field_49', message: 'Unknown field' })
  expect(response.body.more_errors).toBe(1_950)
  expect(response.body.detail).toContain('2000')
  expect(response.text.length).toBeLessThan(8_000)
})

it.each(Object.entries(BODIES))('%s lists all of 50 errors', async (_, send) => {
  const { body } = await send(fieldsOf(50))
  expect(body.errors).toHaveLength(50)
  expect(body).not.toHaveProperty('more_errors')
  expect((await send(fieldsOf(51))).body.more_errors).toBe(1)
})

it('faulty fields count like unknown ones', async () => {
  const items = Array.from({ length: 150 }, () => ({ product_id: 0, qty: 0 }))
  const { body } = await system.orders.post('/orders', { customer_id: 1, items })
  expect(body.errors).toHaveLength(50)
  expect(body.more_errors).toBe(250)
})
