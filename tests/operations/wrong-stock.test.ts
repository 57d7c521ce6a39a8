import { expect, it, vi } from 'vitest'
import { variablesOf } from '../../testing/fixture.ts'
import { runProgram } from '../../testing/programs.ts'
import { atOnce, newOrder, newProduct, stockOf } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000 })

interface Told {
  type: string
  actor: { type: string }
  data: { product: { stock: number; version: number }; previous?: object; adjustment?: object }
}

describeEachEngine('wrong stock', (engine) => {
  const system = useSystem(engine)
  const run = (...args: string[]) => runProgram('audit:books', variablesOf(system.env), args)
  const json = async (...args: string[]) => {
    const { code, stdout } = await run(...args, '--json')
    return { code, found: JSON.parse(stdout) }
  }

  /** A product with a true stock of 93: 100 at first, 5 delivered, 12 sold. Its stored stock is higher by `extra`. */
  async function wrongBy(extra: number) {
    const { id } = await newProduct(system)
    await system.orders.post(`/products/${id}/stock-adjustments`, { delta: 5, reason: 'delivery' })
    await newOrder(system, [{ product_id: id, qty: 2 }])
    await newOrder(system, [
      { product_id: id, qty: 4 },
      { product_id: id, qty: 6 },
    ])
    const canceled = await newOrder(system, [{ product_id: id, qty: 50 }])
    await system.orders.post(`/orders/${canceled.id}/cancel`)
    await system.db
      .updateTable('products')
      .set((eb) => ({ stock: eb('stock', '+', extra) }))
      .where('id', '=', id)
      .execute()
    return id
  }

  /** What the fixes of a product told. */
  async function toldOf(id: number) {
    const { body } = await system.orders.get(`/events?resource=product:${id}&limit=500`)
    return body.data
      .filter(({ actor }: { actor: { id: string } }) => actor.id === 'audit')
      .map(({ type, actor, data: { product, previous, adjustment } }: Told) => {
        return { type, by: actor.type, stock: product.stock, version: product.version, previous, adjustment }
      })
  }

  it('when a product is explained, then its ledger and live orders add up', async () => {
    const id = await wrongBy(3)
    const { code, found } = await json('--explain', 'product', String(id))
    expect(code).toBe(1)
    expect(found).toMatchObject({ product_id: id, stock: 96, expected: 93, adjusted: 105, taken: 12 })
    expect(found).toMatchObject({ adjustments: 2, live_orders: 2 })
    expect(found.newest_adjustments.map(({ delta }: { delta: number }) => delta)).toEqual([5, 100])
    expect(found.newest_live_lines.map(({ qty }: { qty: number }) => qty)).toEqual([6, 4, 2])
    const { stdout } = await run('--explain', 'product', String(id), '--limit', '1')
    for (const told of ['DIFFERS by +3', 'delivery', '(1 of 2)']) expect(stdout).toContain(told)
    expect(stdout).not.toContain('initial stock')
    const audit = await json()
    const difference = audit.found.findings[0].differences.find((row: { product_id: number }) => row.product_id === id)
    expect(difference).toEqual({ product_id: id, stock: 96, expected: 93 })
  })

  it('when the ledger is trusted, then the stock is set and the version rises', async () => {
    const id = await wrongBy(-3)
    const before = (await system.orders.get(`/products/${id}`)).body
    const args = ['--fix', 'product', String(id), '--trust', 'ledger']
    const asked = await run(...args)
    expect(asked).toMatchObject({ code: 1, stderr: expect.stringContaining('from 90 to 93') })
    expect(await stockOf(system, id)).toBe(90)
    const { code, stdout } = await run(...args, '--yes')
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/was 90 and is 93\.\n$/) })
    const { body } = await system.orders.get(`/products/${id}`)
    expect(body).toMatchObject({ stock: 93, version: before.version + 1 })
    const updated = { type: 'product.updated', by: 'system', stock: 93, version: body.version, previous: { stock: 90 } }
    expect(await toldOf(id)).toEqual([updated])
    expect((await json('--explain', 'product', String(id))).found).toMatchObject({ adjustments: 2, expected: 93 })
    expect(await run(...args)).toMatchObject({ code: 0, stdout: expect.stringMatching(/Nothing to fix\.\n$/) })
  })

  it.each([3, -3])('when the stock is trusted (%i), then one adjustment balances it', async (extra) => {
    const id = await wrongBy(extra)
    const args = ['--fix', 'product', String(id), '--trust', 'stock', '--reason', 'counted on Monday', '--yes']
    expect((await json(...args)).found).toMatchObject({ product_id: id, done: 'adjustment added', delta: extra })
    const { code, found } = await json('--explain', 'product', String(id))
    const right = { stock: 93 + extra, expected: 93 + extra, adjustments: 3 }
    expect({ code, found }).toMatchObject({ code: 0, found: right })
    const [newest] = found.newest_adjustments
    expect(newest).toMatchObject({ delta: extra, reason: 'counted on Monday', principal: 'audit:books' })
    const { version, stock } = (await system.orders.get(`/products/${id}`)).body
    const adjustment = { id: newest.id, delta: extra, reason: 'counted on Monday' }
    expect(await toldOf(id)).toEqual([{ type: 'product.stock_adjusted', by: 'system', stock, version, adjustment }])
    expect(
      (await json()).found.findings.find(({ check }: { check: string }) => check === 'stock_events'),
    ).toMatchObject({
      differences: [],
    })
  })

  it('when two people fix it at once, then it is fixed once', async () => {
    const id = await wrongBy(3)
    const args = ['--fix', 'product', String(id), '--trust', 'stock', '--yes']
    const outcomes = await atOnce(2, () => run(...args))
    expect(outcomes.filter(({ stdout }) => stdout.includes('Done: '))).toHaveLength(1)
    expect((await json('--explain', 'product', String(id))).found).toMatchObject({ adjustments: 3, expected: 96 })
  })

  it('when orders are taken while it is fixed, then all of them stay counted', async () => {
    const id = await wrongBy(7)
    let fixed = false
    const fixing = json('--fix', 'product', String(id), '--trust', 'ledger', '--yes').finally(() => {
      fixed = true
    })
    let placed = 0
    while (!fixed && placed < 80) {
      await atOnce(4, () => newOrder(system, [{ product_id: id, qty: 1 }]))
      placed += 4
    }
    expect((await fixing).found).toMatchObject({ done: 'stock set' })
    expect(await stockOf(system, id)).toBe(93 - placed)
    expect((await json('--explain', 'product', String(id))).code).toBe(0)
  })

  it('when it was adjusted just before, then the fix is told beside that', async () => {
    const id = await wrongBy(2)
    for (const delta of [4, -1]) {
      await system.orders.post(`/products/${id}/stock-adjustments`, { delta, reason: 'delivery' })
    }
    const args = ['--fix', 'product', String(id), '--trust', 'stock', '--yes']
    expect(await run(...args)).toMatchObject({ code: 0 })
    expect(await toldOf(id)).toMatchObject([{ type: 'product.stock_adjusted', stock: 98, adjustment: { delta: 2 } }])
  })

  it('when a fix empties the shelf, then that is told too', async () => {
    const id = await wrongBy(3)
    await newOrder(system, [{ product_id: id, qty: 93 }])
    expect(await run('--fix', 'product', String(id), '--trust', 'ledger', '--yes')).toMatchObject({ code: 0 })
    const types = (await toldOf(id)).map(({ type }: Told) => type)
    expect(types).toEqual(['product.updated', 'product.out_of_stock'])
  })

  it('when the ledger is below zero, then the stock is not set', async () => {
    const id = await wrongBy(0)
    await system.db.deleteFrom('stock_adjustments').where('product_id', '=', id).execute()
    const { code, stderr } = await run('--fix', 'product', String(id), '--trust', 'ledger', '--yes')
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('less than 0') })
    expect(await stockOf(system, id)).toBe(93)
    const unknown = await run('--explain', 'product', '999999999')
    expect(unknown).toMatchObject({ code: 1, stderr: '\nThere is no product 999999999.\n\n' })
    expect(await run('--fix', 'product', String(id), '--trust', 'stock', '--yes')).toMatchObject({ code: 0 })
    expect((await json('--explain', 'product', String(id))).code).toBe(0)
  })
})

it.each([
  [['--explain', 'order', '1'], 'Only a product can be named.'],
  [['--explain', 'product'], "The product's id is needed."],
  [['--explain', 'product', 'x'], "The product's id must be a positive integer."],
  [['product', '1'], "Unexpected argument 'product'."],
  [['--fix', 'product', '1'], '--fix needs --trust ledger or --trust stock.'],
  [['--fix', 'product', '1', '--trust', 'me'], '--fix needs --trust ledger or --trust stock.'],
  [['--trust', 'stock'], '--trust, --reason and --yes belong to --fix.'],
  [['--explain', 'product', '1', '--record'], '--record belongs to the whole audit.'],
  [['--explain', 'product', '1', '--fix', 'product'], '--explain and --fix exclude each other.'],
])('when it gets %j, then it is refused: %s', async (args, message) => {
  const { code, stderr } = await runProgram('audit:books', {}, args)
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(message) })
  expect(stderr).not.toMatch(/^\s+at /m)
})
