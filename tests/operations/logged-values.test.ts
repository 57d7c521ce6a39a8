import { sql } from 'kysely'
import { expect, it } from 'vitest'
import { expectProblem } from '../../testing/problems.ts'
import { newWord } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

describeEachEngine('the log of a statement that failed', (engine) => {
  const system = useSystem(engine)

  /** The log lines of failures after this position. */
  function failures(from: number): { err: { message: string; stack: string; sql?: string } }[] {
    const lines = system.log.slice(from).map((line) => JSON.parse(line))
    return lines.filter(({ msg }) => msg === 'failed')
  }

  it('when an index refuses a value, then the index is logged and the value is not', async () => {
    await sql`create unique index tests_phone on customers (phone)`.execute(system.db)
    const [name, phone] = [newWord(), newWord()]
    const customer = () => system.customers.post('/customers', { name, phone, email: `${newWord()}@example.com` })
    expect((await customer()).status).toBe(201)
    const from = system.log.length
    const refused = await customer()
    expectProblem(refused, 500, 'internal_error')
    const [failure] = failures(from)
    expect(failure?.err.message).toMatch(engine === 'mysql' ? /for key 'tests_phone'/ : /customers\.phone/)
    if (engine === 'mysql') expect(failure?.err.sql).toMatch(/^insert into `customers` .*\?/)
    const text = system.log.slice(from).join('\n') + refused.text
    for (const value of [name, phone]) expect(text).not.toContain(value)
  })

  it('when a table is missing, then its name is logged and no value is', async () => {
    await sql`alter table product_words rename to tests_away`.execute(system.db)
    const [name, sku] = [newWord(), newWord()]
    const from = system.log.length
    const refused = await system.orders.post('/products', { sku, name, price_cents: 1, stock: 1 })
    await sql`alter table tests_away rename to product_words`.execute(system.db)
    expectProblem(refused, 500, 'internal_error')
    expect(failures(from)[0]?.err.message).toContain('product_words')
    const text = system.log.slice(from).join('\n') + refused.text
    for (const value of [name, sku]) expect(text).not.toContain(value)
  })
})
