import { expect, it } from 'vitest'
import { newCustomer } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'
import { liveCustomersQuery } from './customer-rows.ts'

describeEachEngine('the customers of orders', (engine) => {
  const system = useSystem(engine)

  it('when they are read, then with their PO policies, and deleted ones are absent', async () => {
    const { id } = await newCustomer(system)
    const strict = await newCustomer(system, { po_policy: 'required' })
    const gone = await newCustomer(system, { po_policy: 'free' })
    await system.customers.delete(`/customers/${gone.id}`)
    const query = liveCustomersQuery(system.db, [id, strict.id, gone.id])
    const rows = query === undefined ? [] : (await system.db.executeQuery(query)).rows
    expect(rows.toSorted((a, b) => a.id - b.id)).toEqual([
      { id, po_policy: 'unique' },
      { id: strict.id, po_policy: 'required' },
    ])
  })

  it('when there are none to read, then there is no query', () => {
    expect(liveCustomersQuery(system.db, [])).toBeUndefined()
  })
})
