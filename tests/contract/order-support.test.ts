import { randomUUID } from 'node:crypto'
import { describe, expect, it, vi } from 'vitest'
import { createClient } from '../../src/identity/service.ts'
import { addMinutes } from '../../src/platform/core/time.ts'
import { readClock } from '../../src/platform/database/clock.ts'
import { variablesOf } from '../../testing/fixture.ts'
import { expectProblem } from '../../testing/problems.ts'
import { runProgram } from '../../testing/programs.ts'
import { newCustomer, newKey, newProduct } from '../../testing/rows.ts'
import { describeEachEngine, useSystem } from '../../testing/system.ts'

vi.setConfig({ testTimeout: 60_000 })

const CREATE_AND_CONFIRM = '/orchestrator/create-and-confirm-order'

describeEachEngine('GET /idempotency-keys', (engine) => {
  const system = useSystem(engine)

  const search = (key: string, client?: string) => {
    const query = new URLSearchParams({ key, ...(client !== undefined && { client }) })
    return system.orders.get(`/idempotency-keys?${query}`)
  }
  const keyed = (key: string) => ({ headers: { 'idempotency-key': key } })
  const newItems = async () => [{ product_id: (await newProduct(system)).id, qty: 2 }]
  const countOrders = async () => {
    const { n } = await system.db
      .selectFrom('orders')
      .select(({ fn }) => fn.countAll<number>().as('n'))
      .executeTakeFirstOrThrow()
    return n
  }

  /** A client that is in the database, and a token for it. */
  async function newClient() {
    const id = `client-${randomUUID()}`
    await createClient(system.db, { id, name: id, scopes: ['orders:write'], customerId: null })
    return { id, token: await system.token({ clientId: id }) }
  }

  it('when a key placed, confirmed and canceled an order, then all three are listed', async () => {
    const key = newKey()
    const placed = await system.orders.post('/orders', { customer_id: 1, items: await newItems() }, keyed(key))
    const { id, ...order } = placed.body
    await system.orders.post(`/orders/${id}/confirm`, undefined, keyed(key))
    await system.orders.post(`/orders/${id}/cancel`, undefined, keyed(key))
    const { status, body } = await search(key)
    expect(status).toBe(200)
    const { customer_id, total_cents } = order
    const use = {
      key,
      principal: 'client:tests',
      via: 'orders',
      order: { id, customer_id, status: 'CANCELED', total_cents },
    }
    expect(body.data).toMatchObject([
      { operation: 'orders.place', status: 201, ...use },
      { operation: 'orders.confirm', status: 200, ...use },
      { operation: 'orders.cancel', status: 200, ...use },
    ])
    expect(Date.parse(body.data[0].expires_at) - Date.parse(body.data[0].created_at)).toBe(24 * 3_600_000)
  })

  it('when a key is unused, then the list is empty, says since when, and adds no order', async () => {
    const before = await countOrders()
    const { status, body } = await search(newKey())
    expect({ status, body }).toEqual({
      status: 200,
      body: { data: [], kept_since: expect.any(String), kept_hours: 24 },
    })
    const ageMs = Date.now() - Date.parse(body.kept_since)
    expect(Math.abs(ageMs - 24 * 3_600_000)).toBeLessThan(60_000)
    expect(await countOrders()).toBe(before)
  })

  it('when an order was refused, then its key has no use', async () => {
    const key = newKey()
    const order = { customer_id: 999_999, items: await newItems() }
    expect((await system.orders.post('/orders', order, keyed(key))).status).toBe(422)
    expect((await search(key)).body.data).toEqual([])
  })

  it('when a client ordered through the orchestrator, then its key finds the order', async () => {
    const { id, token } = await newClient()
    const key = newKey()
    const order = { customer_id: 1, items: await newItems(), idempotency_key: key }
    const placed = await system.orchestrator.post(CREATE_AND_CONFIRM, order, { token })
    const expected = [
      {
        operation: 'orders.place',
        principal: `client:${id}`,
        via: 'orchestrator',
        order: { id: placed.body.data.order.id, status: 'CONFIRMED' },
      },
    ]
    expect((await search(key)).body.data).toMatchObject(expected)
    expect((await search(key, id)).body.data).toMatchObject(expected)
    expect((await search(key, 'demo')).body.data).toEqual([])
  })

  it('when an anonymous caller used the orchestrator, then the key finds the order', async () => {
    const key = newKey()
    const order = { customer_id: 1, items: await newItems(), idempotency_key: key }
    const placed = await system.orchestrator.post(CREATE_AND_CONFIRM, order, { token: null })
    const expected = [{ principal: 'anonymous', order: { id: placed.body.data.order.id } }]
    expect((await search(key)).body.data).toMatchObject(expected)
    expect((await search(key, 'anonymous')).body.data).toMatchObject(expected)
  })

  it('when two clients used one key, then both orders are listed, or one by client', async () => {
    const [key, items, one, other] = [newKey(), await newItems(), await newClient(), await newClient()]
    const place = async (token: string) =>
      (await system.orders.post('/orders', { customer_id: 1, items }, { token, ...keyed(key) })).body.id
    const ids = [await place(one.token), await place(other.token)]
    const found = async (client?: string): Promise<number[]> =>
      (await search(key, client)).body.data.map(({ order }: { order: { id: number } }) => order.id)
    expect(await found()).toEqual(ids)
    expect(await found(other.id)).toEqual([ids[1]])
    expect(await found('')).toEqual(ids)
  })

  it('when one client used a key for two customers, then both orders are listed', async () => {
    const [key, items, clientId] = [newKey(), await newItems(), `bound-${randomUUID()}`]
    const ids = []
    for (const { id } of [await newCustomer(system), await newCustomer(system)]) {
      const token = await system.token({ customerId: id, clientId })
      ids.push((await system.orders.post('/orders', { customer_id: id, items }, { token, ...keyed(key) })).body.id)
    }
    const { data } = (await search(key, clientId)).body
    expect(data.map(({ order }: { order: { id: number } }) => order.id)).toEqual(ids)
  })

  it('when a key has expired but is still stored, then it is listed', async () => {
    const key = newKey()
    await system.orders.post('/orders', { customer_id: 1, items: await newItems() }, keyed(key))
    const expires_at = addMinutes(await readClock(system.db), -1)
    await system.db.updateTable('idempotency_keys').set({ expires_at }).where('key', '=', key).execute()
    expect((await search(key)).body.data).toHaveLength(1)
  })

  it('when the key is in double quotes, then it is the same key', async () => {
    const key = newKey()
    await system.orders.post('/orders', { customer_id: 1, items: await newItems() }, keyed(`"${key}"`))
    expect((await search(`"${key}"`)).body.data).toMatchObject([{ key }])
    expect((await search(key)).body.data).toMatchObject([{ key }])
  })

  describe('refused lookups', () => {
    it.each([
      ['no key', '', 'validation_failed'],
      ['an empty key', '?key=', 'invalid_idempotency_key'],
      ['a key with a space', '?key=a+b', 'invalid_idempotency_key'],
      ['a key beyond ASCII', '?key=%C3%A9', 'invalid_idempotency_key'],
      ['a key of 256 characters', `?key=${'k'.repeat(256)}`, 'invalid_idempotency_key'],
      ['two keys', '?key=a&key=b', 'validation_failed'],
      ['an unknown parameter', '?key=a&customer_id=1', 'validation_failed'],
    ])('when it gets %s, then 400', async (_, query, code) => {
      expectProblem(await system.orders.get(`/idempotency-keys${query}`), 400, code)
    })

    it('when the client is bound to a customer, then 403', async () => {
      const token = await system.token({ customerId: 1 })
      expectProblem(await system.orders.get('/idempotency-keys?key=a', { token }), 403, 'bound_client')
    })
  })
})

describeEachEngine('npm run order:find', (engine) => {
  const system = useSystem(engine)

  const run = (...args: string[]) => runProgram('order:find', variablesOf(system.env), args)
  async function found(...args: string[]) {
    const { code, stdout, stderr } = await run(...args, '--json')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    return JSON.parse(stdout)
  }
  async function none(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await run(...args)
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
    return stdout.trim()
  }

  /** An order through Orders and one through the orchestrator, each with its key and correlation id. */
  async function newOrders() {
    const items = [{ product_id: (await newProduct(system)).id, qty: 2 }]
    const [direct, through] = [
      { key: newKey(), correlation: `direct-${randomUUID()}` },
      { key: newKey(), correlation: `through-${randomUUID()}` },
    ]
    const headers = { 'idempotency-key': direct.key, 'x-correlation-id': direct.correlation }
    const placed = await system.orders.post('/orders', { customer_id: 1, items }, { headers })
    const call = { customer_id: 2, items, idempotency_key: through.key, correlation_id: through.correlation }
    const token = await system.token({ clientId: 'demo' })
    const confirmed = await system.orchestrator.post(CREATE_AND_CONFIRM, call, { token })
    return { direct: { ...direct, id: placed.body.id }, through: { ...through, id: confirmed.body.data.order.id } }
  }
  const forgetKeys = () => system.db.deleteFrom('idempotency_keys').execute()

  it('when the key is stored, then the order is printed with its caller and expiry', async () => {
    const { direct, through } = await newOrders()
    const { code, stdout, stderr } = await run('--key', direct.key)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Order ${direct.id} was placed. It is CREATED.\n`))
    expect(stdout).toMatch(/placed by +client:tests, by a call of Orders\n/)
    expect(stdout).toMatch(new RegExp(`correlation id +${direct.correlation}\\n`))
    expect(stdout).toMatch(/key +remembered until 20\S+Z: /)
    expect(await found('--key', through.key)).toMatchObject({
      found: true,
      orders: [
        {
          id: through.id,
          customer_id: 2,
          status: 'CONFIRMED',
          placed_by: 'client:demo',
          via: 'orchestrator',
          correlation_id: through.correlation,
          key_uses: [{ operation: 'orders.place', status: 201 }],
        },
      ],
      kept_hours: 24,
    })
  })

  it('when the key is purged, then its hash on the row finds the order', async () => {
    const { direct, through } = await newOrders()
    await forgetKeys()
    for (const [order, via] of [
      [direct, 'orders'],
      [through, 'orchestrator'],
    ] as const) {
      const { orders } = await found('--key', order.key)
      expect(orders).toMatchObject([{ id: order.id, via, key_uses: [] }])
    }
    expect((await found('--key', through.key, '--client', 'demo')).orders).toHaveLength(1)
    expect(await none('--key', through.key, '--client', 'somebody')).toMatch(
      /^No order was placed with this key by somebody/,
    )
  })

  it('when the client of the key is unknown, then the row of its order names it', async () => {
    const items = [{ product_id: (await newProduct(system)).id, qty: 1 }]
    const call = { customer_id: 1, items, idempotency_key: newKey() }
    const token = await system.token({ clientId: `unknown-${randomUUID()}` })
    const { body } = await system.orchestrator.post(CREATE_AND_CONFIRM, call, { token })
    const { orders } = await found('--key', call.idempotency_key)
    expect(orders).toMatchObject([{ id: body.data.order.id, via: 'orchestrator' }])
  })

  it('when a correlation id is given, then the order that its request placed is found', async () => {
    const { direct, through } = await newOrders()
    for (const { id, correlation } of [direct, through]) {
      expect((await found('--correlation-id', correlation)).orders).toMatchObject([{ id, via: null }])
    }
    expect(await none('--correlation-id', newKey())).toMatch(
      /^No order was placed by a request with this correlation id/,
    )
  })

  it('when an id is given, then that order is printed, or that none exists', async () => {
    const { direct } = await newOrders()
    expect((await run('--id', String(direct.id))).stdout).toMatch(new RegExp(`^Order ${direct.id} was placed`))
    expect(await none('--id', '999999999')).toMatch(/^There is no order 999999999\./)
  })

  it('when nothing was placed, then it prints since when, and how long keys are kept', async () => {
    const text = await none('--key', newKey(), '--since', '3d')
    const [, since = '', kept = ''] =
      /^No order was placed with this key since (\S+)\.\nKeys are remembered for 24 hours, that is, since (\S+)\./.exec(
        text,
      ) ?? []
    const ageDays = (time: string) => Math.round((Date.now() - Date.parse(time)) / 86_400_000)
    expect([ageDays(since), ageDays(kept)]).toEqual([3, 1])
  })

  it('when the order is older than the default period, then a longer period finds it', async () => {
    const { direct } = await newOrders()
    await forgetKeys()
    const created_at = addMinutes(await readClock(system.db), -40 * 24 * 60)
    await system.db.updateTable('orders').set({ created_at }).where('id', '=', direct.id).execute()
    await none('--key', direct.key)
    expect((await found('--key', direct.key, '--since', '60d')).orders).toMatchObject([{ id: direct.id }])
  })

  it('when orders of the previous version lack their origin, then it prints how many', async () => {
    const { direct } = await newOrders()
    await forgetKeys()
    const nothing = { placed_by: null, correlation_id: null, key_hash: null }
    await system.db.updateTable('orders').set(nothing).where('id', '=', direct.id).execute()
    expect(await none('--key', direct.key)).toContain('\n1 orders of that time do not say where they came from')
  })

  it('when more orders follow than one statement reads, then it continues', async () => {
    const { direct } = await newOrders()
    await forgetKeys()
    const {
      id: _,
      live_po: _live,
      ...row
    } = await system.db.selectFrom('orders').selectAll().where('id', '=', direct.id).executeTakeFirstOrThrow()
    const rows = Array.from({ length: 6_000 }, () => ({ ...row, status: 'CANCELED' as const, key_hash: null }))
    for (let i = 0; i < rows.length; i += 500) {
      await system.db
        .insertInto('orders')
        .values(rows.slice(i, i + 500))
        .execute()
    }
    expect((await found('--key', direct.key)).orders).toMatchObject([{ id: direct.id }])
    await system.db.deleteFrom('orders').where('id', '>', direct.id).where('status', '=', 'CANCELED').execute()
  })

  it.each([
    ['nothing to search for', []],
    ['two things to search for', ['--key', 'a', '--id', '1']],
    ['an invalid key', ['--key', 'two words']],
    ['an invalid correlation id', ['--correlation-id', 'two words']],
    ['an invalid id', ['--id', '0']],
    ['an invalid time', ['--key', 'a', '--since', 'yesterday']],
    ['a time for an id', ['--id', '1', '--since', '3d']],
  ])('when it gets %s, then it ends with 2', async (_, args) => {
    const { code, stdout, stderr } = await run(...args)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('npm run order:find')
  })

  it('when it cannot search, then it ends with 2: that is not "none"', async () => {
    const variables = { ...variablesOf(system.env), DB_HOST: '127.0.0.1', DB_PORT: '1' }
    expect(await runProgram('order:find', variables, ['--key', 'a'])).toMatchObject({ code: 2, stdout: '' })
  })
})
