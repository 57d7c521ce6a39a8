import { expect, it } from 'vitest'
import { eventsOf } from '../../testing/feed.ts'
import { expectProblem } from '../../testing/problems.ts'
import { newCustomer, newKey } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

const keyed = (key: string) => ({ headers: { 'idempotency-key': key } })

describeEachEngine('events of customers', (engine) => {
  const system = useSystem(engine)

  it('when a customer is created, replaced and deleted, then each is an event', async () => {
    let customer = await newCustomer(system)
    const [created] = await eventsOf(system, async () => {
      customer = await newCustomer(system, { phone: '555' })
    })
    expect(created).toMatchObject({
      type: 'customer.created',
      resource: { type: 'customer', id: customer.id, version: 1 },
      actor: { type: 'client', id: 'tests' },
    })
    expect(created.data).toEqual({ customer })
    const path = `/customers/${customer.id}`
    let replaced = {}
    const [updated] = await eventsOf(system, async () => {
      replaced = (await system.customers.put(path, { name: 'Other', email: customer.email })).body
    })
    expect(updated).toMatchObject({ type: 'customer.updated', resource: { version: 2 } })
    expect(updated.data).toEqual({
      customer: replaced,
      previous: { name: expect.stringMatching(/^Customer/), phone: '555' },
    })
    const [deleted] = await eventsOf(system, () => system.customers.delete(path))
    expect(deleted).toMatchObject({
      type: 'customer.deleted',
      resource: { version: 3 },
      data: { customer: { id: customer.id, name: 'Other', version: 3 } },
    })
  })

  it('when requests are replayed or refused, then no event', async () => {
    const [customer, key] = [await newCustomer(system), newKey()]
    const path = `/customers/${customer.id}`
    const body = { name: 'Other', email: customer.email }
    await system.customers.put(path, body, keyed(key))
    const events = await eventsOf(system, async () => {
      expect((await system.customers.put(path, body, keyed(key))).headers.get('idempotent-replayed')).toBe('true')
      expectProblem(await system.customers.post('/customers', body), 409, 'email_taken')
      expectProblem(await system.customers.delete(path, { headers: { 'if-match': '"1"' } }), 412, 'precondition_failed')
    })
    expect(events).toEqual([])
  })

  it('when a customer is erased, then no event has its data, nor what it was before', async () => {
    const customer = await newCustomer(system, { name: 'Zoe Erasable', phone: '555-erase', external_id: 'passport' })
    const path = `/customers/${customer.id}`
    await system.customers.put(path, { name: 'Zoe Married', email: `m-${customer.email}`, phone: '556-erase' })
    await system.customers.delete(path)
    const [erased] = await eventsOf(system, () => system.customers.post(`${path}/erase`))
    const blank = { name: 'Erased customer', email: `erased-${customer.id}@invalid`, phone: null, external_id: null }
    expect(erased).toMatchObject({ type: 'customer.updated', resource: { version: 4 }, data: { customer: blank } })
    const { body } = await system.orders.get(`/events?resource=customer:${customer.id}`)
    expect(body.data).toMatchObject(
      ['created', 'updated', 'deleted', 'updated'].map((what, i) => ({
        type: `customer.${what}`,
        data: { customer: { ...blank, version: i + 1 } },
      })),
    )
    for (const { data } of body.data) expect(data).not.toHaveProperty('previous')
    expect(JSON.stringify(body)).not.toMatch(/zoe|married|55\d-erase|passport/i)
    expect(JSON.stringify(body)).not.toContain(customer.email)
    expect(erased.data.reason).toBe('erased')
    expect(await eventsOf(system, () => system.customers.post(`${path}/erase`))).toEqual([])
    const again = await system.orders.get(`/events?resource=customer:${customer.id}`)
    expect(again.body.data).toEqual(body.data)
  })
})
