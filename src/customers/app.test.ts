import { sql } from 'kysely'
import { describe, expect, it, onTestFinished } from 'vitest'
import { idsOf, readPages } from '../../testing/lists.ts'
import { expectFaults, expectProblem } from '../../testing/problems.ts'
import {
  describeKeyedCreation,
  describePages,
  describeRequests,
  describeSearch,
  type Resource,
} from '../../testing/resource-suites.ts'
import { newCustomer, newKey, newOrder, newProduct, newWord, statusCounts } from '../../testing/rows.ts'
import { describeEachEngine, startSystem, useSystem } from '../../testing/system.ts'
import { sha256 } from '../platform/core/crypto.ts'

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

function input(name = `Customer ${newWord()}`) {
  return { name, email: `${newWord()}@example.com` }
}

describeEachEngine('customers', (engine) => {
  const system = useSystem(engine)
  const resource: Resource = { system, service: 'customers', path: '/customers', input }

  const read = (id: number) => system.customers.get(`/customers/${id}`)
  const replace = (id: number, body: unknown, ifMatch?: string) =>
    system.customers.put(`/customers/${id}`, body, ifMatch === undefined ? {} : { headers: { 'if-match': ifMatch } })
  const remove = (id: number, ifMatch?: string) =>
    system.customers.delete(`/customers/${id}`, ifMatch === undefined ? {} : { headers: { 'if-match': ifMatch } })
  const readInternal = (id: number) =>
    system.customers.get(`/internal/customers/${id}`, { token: system.env.serviceTokens[0] ?? '' })
  const search = async (text: string) =>
    idsOf(await readPages(system.customers, `/customers?search=${encodeURIComponent(text)}`))

  describe('any request', () => describeRequests(resource))

  describe('creating', () => {
    it('when a customer is created, then 201 with Location, ETag and all its fields', async () => {
      const body = { ...input(), phone: '555-1234' }
      const response = await system.customers.post('/customers', body)
      expect(response.status).toBe(201)
      expect(response.body).toEqual({
        id: expect.any(Number),
        ...body,
        external_id: null,
        po_policy: 'unique',
        created_at: expect.stringMatching(TIME),
        updated_at: response.body.created_at,
        version: 1,
      })
      expect(response.headers.get('content-type')).toBe('application/json')
      expect(response.headers.get('location')).toBe(`customers/${response.body.id}`)
      expect(response.headers.get('etag')).toBe('"1"')
      expect((await read(response.body.id)).body).toEqual(response.body)
    })

    const hashOf = async (key: string) => {
      const rows = system.db.selectFrom('idempotency_keys').select('request_hash').where('key', '=', key)
      return (await rows.executeTakeFirstOrThrow()).request_hash
    }

    it('when a body is hashed for its key, then as the first version hashed it', async () => {
      const [first, second] = [newKey(), newKey()]
      const { name, email } = input()
      // Other order, and no phone: the hash has the fields in one order, and null.
      const created = await system.customers.post(
        '/customers',
        { email, name },
        { headers: { 'idempotency-key': first } },
      )
      expect(await hashOf(first)).toBe(sha256(JSON.stringify([{ name, email, phone: null }])))
      const { id } = created.body
      await system.customers.put(
        `/customers/${id}`,
        { phone: '555-1', email, name },
        { headers: { 'idempotency-key': second } },
      )
      expect(await hashOf(second)).toBe(sha256(JSON.stringify([id, { name, email, phone: '555-1' }])))
    })

    it('when it has new fields, then they are hashed too', async () => {
      const [key, { name, email }] = [newKey(), input()]
      const fields = { external_id: newWord(), po_policy: 'free' }
      const send = (body: object) => system.customers.post('/customers', body, { headers: { 'idempotency-key': key } })
      const first = await send({ ...fields, name, email })
      expect(await hashOf(key)).toBe(sha256(JSON.stringify([{ name, email, phone: null, ...fields }])))
      expect((await send({ name, email, phone: null, ...fields })).text).toBe(first.text)
      for (const other of [{}, { external_id: newWord() }, { po_policy: 'required' }, { po_policy: null }]) {
        const changed = Object.keys(other).length === 0 ? { name, email } : { name, email, ...fields, ...other }
        expectProblem(await send(changed), 422, 'idempotency_key_reused')
      }
    })

    it('when an earlier version stored the response, then it is replayed byte for byte', async () => {
      const [key, body] = [newKey(), input()]
      const send = () => system.customers.post('/customers', body, { headers: { 'idempotency-key': key } })
      const { external_id, po_policy, ...earlier } = (await send()).body
      const response_body = JSON.stringify(earlier)
      await system.db.updateTable('idempotency_keys').set({ response_body }).where('key', '=', key).execute()
      expect((await send()).text).toBe(response_body)
      expect((await system.customers.post(`/customers/${earlier.id}/erase`)).status).toBe(204)
      expect(Object.keys((await send()).body)).toEqual(Object.keys(earlier))
    })

    it('when the phone is null or left out, then it is null', async () => {
      for (const phone of [{}, { phone: null }]) {
        expect((await system.customers.post('/customers', { ...input(), ...phone })).body.phone).toBeNull()
      }
    })

    it('when fields have spaces around them, then they are trimmed', async () => {
      const { name, email } = input()
      const padded = { name: ` ${name}\t`, email: `  ${email} `, phone: ' 1 2 ' }
      expect((await system.customers.post('/customers', padded)).body).toMatchObject({ name, email, phone: '1 2' })
    })

    it('when the name is in any script, then it is stored exactly as it was sent', async () => {
      const name = `Café Ñandú 株式会社 مكتب 🏭 O'Neil "&<>\\ ${newWord()}`
      const { id } = await newCustomer(system, { name })
      expect((await read(id)).body.name).toBe(name)
    })

    it('when a name is at its maximum length, then characters count, not bytes', async () => {
      const name = '🏭'.repeat(200)
      const { id } = await newCustomer(system, { name })
      expect((await read(id)).body.name).toBe(name)
      expectFaults(await system.customers.post('/customers', { ...input(), name: `${name}!` }), ['name'])
    })

    it.each(["o'neil#1&co", 'a.b+c', '{x}'])(
      'when the e-mail is %s at a domain, then it is accepted unchanged',
      async (at) => {
        const email = `${at}.${newWord()}@xn--bcher-kva.xn--p1ai`
        expect((await newCustomer(system, { email })).email).toBe(email)
      },
    )

    it('when the e-mail is taken, then 409, whatever its case', async () => {
      const { email } = await newCustomer(system, { email: `Ops.${newWord()}@Example.com` })
      for (const same of [email, email.toLowerCase(), email.toUpperCase(), ` ${email} `]) {
        expectProblem(await system.customers.post('/customers', { ...input(), email: same }), 409, 'email_taken')
      }
    })

    it('when ten requests want one e-mail at once, then one gets it', async () => {
      const { email } = input()
      const responses = await Promise.all(
        Array.from({ length: 10 }, () => system.customers.post('/customers', { ...input(), email })),
      )
      expect(statusCounts(responses)).toEqual({ 201: 1, 409: 9 })
    })

    it.each([
      ['name', undefined],
      ['name', null],
      ['name', 7],
      ['name', ''],
      ['name', '   '],
      ['name', 'a'.repeat(201)],
      ['name', 'two\nlines'],
      ['name', 'nul\u0000'],
      ['name', 'half \ud83d of a pair'],
      ['email', undefined],
      ['email', null],
      ['email', ''],
      ['email', 'nobody'],
      ['email', 'a@b'],
      ['email', 'a@127.0.0.1'],
      ['email', 'a..b@example.com'],
      ['email', 'a@-b.example.com'],
      ['email', 'a b@example.com'],
      ['email', 'a@example.com\u0000'],
      ['email', `a\ud800@example.com`],
      ['email', `${'a'.repeat(250)}@example.com`],
      ['phone', ''],
      ['phone', 5551234],
      ['phone', '5'.repeat(33)],
      ['phone', '5\u001b5'],
      ['external_id', ''],
      ['external_id', '  '],
      ['external_id', 7],
      ['external_id', ['A']],
      ['external_id', 'a'.repeat(65)],
      ['external_id', 'two\nlines'],
      ['external_id', 'zero\u200bwidth'],
      ['external_id', '\u202egnp'],
      ['external_id', '\ufeffA'],
      ['external_id', 'half \ud83d of a pair'],
      ['po_policy', ''],
      ['po_policy', 'Unique'],
      ['po_policy', 'none'],
      ['po_policy', 1],
      ['live_external_id', 'A'],
    ])('when %s is %j, then that field is refused', async (field, value) => {
      expectFaults(await system.customers.post('/customers', { ...input(), [field]: value }), [field])
    })

    it('when several fields are wrong, then all are named at once', async () => {
      expectFaults(await system.customers.post('/customers', { phone: 1, extra: 2 }), [
        'email',
        'extra',
        'name',
        'phone',
      ])
    })

    describe('with an idempotency key', () => {
      describeKeyedCreation(resource)

      it('when the customer was changed or deleted since, then a retry is still a replay', async () => {
        const [body, headers] = [input(), { 'idempotency-key': newWord() }]
        const first = await system.customers.post('/customers', body, { headers })
        await replace(first.body.id, input())
        expect((await system.customers.post('/customers', body, { headers })).text).toBe(first.text)
        await remove(first.body.id)
        expect((await system.customers.post('/customers', body, { headers })).text).toBe(first.text)
      })
    })
  })

  describe('external ids and PO policies', () => {
    const create = (fields: object) => system.customers.post('/customers', { ...input(), ...fields })

    it('when both are sent, then they are stored, shown and listed', async () => {
      const fields = { external_id: `ERP ${newWord()}`, po_policy: 'required' }
      const { status, body } = await create(fields)
      expect({ status, body }).toMatchObject({ status: 201, body: fields })
      const names = ['id', 'name', 'email', 'phone', 'external_id', 'po_policy', 'created_at', 'updated_at', 'version']
      expect(Object.keys(body)).toEqual(names)
      expect((await read(body.id)).body).toEqual(body)
      expect((await readInternal(body.id)).body).toEqual(body)
      for (const query of [`search=${body.email}`, `email=${body.email}`]) {
        expect((await system.customers.get(`/customers?${query}`)).body.data).toEqual([body])
      }
    })

    it('when they are null, then they have their defaults', async () => {
      const { body } = await create({ external_id: null, po_policy: null })
      expect(body).toMatchObject({ external_id: null, po_policy: 'unique' })
    })

    it.each(['unique', 'free', 'required'])('when the policy is %s, then it is accepted', async (po_policy) => {
      expect((await create({ po_policy })).body.po_policy).toBe(po_policy)
    })

    it('when an id is in any script, then it is stored exactly, without spaces around it', async () => {
      for (const text of ['株式会社 7', 'مكتب', '🏭', "O'Neil & Co", 'a  b', '%_*']) {
        const external_id = `${text} ${newWord()}`
        const { body } = await create({ external_id: ` ${external_id}\u00a0` })
        expect(body.external_id).toBe(external_id)
        expect((await create({ external_id })).body.code).toBe('external_id_taken')
      }
    })

    it('when an id is at its maximum length, then characters count, not bytes', async () => {
      const external_id = '🏭'.repeat(64)
      expect((await create({ external_id })).body.external_id).toBe(external_id)
      expectFaults(await create({ external_id: `${external_id}!` }), ['external_id'])
    })

    it('when two ids differ in case, accents or composition, then both are accepted', async () => {
      const word = newWord()
      for (const id of [`a${word}`, `A${word}`, `á${word}`, `a\u0301${word}`, `ß${word}`, `ss${word}`]) {
        expect((await create({ external_id: id })).status).toBe(201)
      }
    })

    it('when an id is taken, then 409 and nothing is stored', async () => {
      const [external_id, body] = [newWord(), input()]
      await create({ external_id })
      const refused = await system.customers.post('/customers', { ...body, external_id })
      expectProblem(refused, 409, 'external_id_taken')
      expect((await system.customers.post('/customers', body)).status).toBe(201)
    })

    it('when e-mail and id are both taken, then 409 names one of them', async () => {
      const { body } = await create({ external_id: newWord() })
      const { status, body: problem } = await create({ email: body.email, external_id: body.external_id })
      expect(status).toBe(409)
      expect(['email_taken', 'external_id_taken']).toContain(problem.code)
    })

    it('when a taken value looks like the name of an index, then 409 still names the right one', async () => {
      const external_id = "customers_email_key'"
      await create({ external_id })
      expectProblem(await create({ external_id }), 409, 'external_id_taken')
      const email = `customers_external_id'@${newWord()}.example`
      await create({ email })
      expectProblem(await create({ email }), 409, 'email_taken')
    })

    it('when ten want one id at once, then one gets it', async () => {
      const external_id = newWord()
      const responses = await Promise.all(Array.from({ length: 10 }, () => create({ external_id })))
      expect(statusCounts(responses)).toEqual({ 201: 1, 409: 9 })
      for (const { status, body } of responses) if (status === 409) expect(body.code).toBe('external_id_taken')
    })

    it('when ten customers want one id at once, then one gets it', async () => {
      const [ids, external_id] = [await makeCustomers(10), newWord()]
      const responses = await Promise.all(ids.map((id) => replace(id, { ...input(), external_id })))
      expect(statusCounts(responses)).toEqual({ 200: 1, 409: 9 })
    })

    it('when a caller replaces the first version’s fields only, then both stay', async () => {
      const fields = { external_id: newWord(), po_policy: 'free' }
      const { id } = (await create(fields)).body
      for (const absent of [{}, { external_id: null, po_policy: null }]) {
        const body = { ...input(), ...absent }
        const replaced = await replace(id, body)
        expect(replaced.body).toMatchObject({ name: body.name, phone: null, ...fields })
        expect((await read(id)).text).toBe(replaced.text)
      }
    })

    it('when both are replaced, then the old id is free and the new one is taken', async () => {
      const [before, after] = [newWord(), newWord()]
      const { id } = (await create({ external_id: before })).body
      const replaced = await replace(id, { ...input(), external_id: after, po_policy: 'required' }, '"1"')
      expect(replaced).toMatchObject({ status: 200, body: { external_id: after, po_policy: 'required', version: 2 } })
      expectProblem(await create({ external_id: after }), 409, 'external_id_taken')
      expect((await create({ external_id: before })).status).toBe(201)
    })

    it('when the empty text is sent in a replacement, then the id is removed and free', async () => {
      const external_id = newWord()
      const { id } = (await create({ external_id, po_policy: 'free' })).body
      const replaced = await replace(id, { ...input(), external_id: '' })
      expect(replaced.body).toMatchObject({ external_id: null, po_policy: 'free' })
      expect((await create({ external_id })).status).toBe(201)
    })

    it('when a replacement keeps its own id, then it is accepted', async () => {
      const { id, external_id } = (await create({ external_id: newWord() })).body
      expect((await replace(id, { ...input(), external_id })).status).toBe(200)
    })

    it('when a replacement is stale or faulty or the id is taken, then nothing changes', async () => {
      const [one, other] = [(await create({ external_id: newWord() })).body, (await create({})).body]
      const body = { ...input(), external_id: newWord(), po_policy: 'free' }
      expectProblem(await replace(other.id, body, '"2"'), 412, 'precondition_failed')
      expectFaults(await replace(other.id, { ...body, external_id: ' ', po_policy: '' }), ['external_id', 'po_policy'])
      const taken = await replace(other.id, { ...body, external_id: one.external_id })
      expectProblem(taken, 409, 'external_id_taken')
      expect((await read(other.id)).body).toEqual(other)
    })

    it('when a customer is deleted, then its id is free, every time, and its row keeps it', async () => {
      const external_id = newWord()
      for (let i = 0; i < 3; i++) {
        const { id } = (await create({ external_id })).body
        await remove(id)
        const row = await system.db.selectFrom('customers').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
        expect(row).toMatchObject({ external_id, live_external_id: null })
      }
      expect((await create({ external_id })).status).toBe(201)
    })

    it('when a version before deletes the customer, then its id is free', async () => {
      const external_id = newWord()
      const { id } = (await create({ external_id })).body
      const deleted = { email_key: null, deleted_at: '2026-01-02 00:00:00.000' }
      await system.db.updateTable('customers').set(deleted).where('id', '=', id).execute()
      expect((await create({ external_id })).status).toBe(201)
    })
  })

  describe('looking up by e-mail or external id', () => {
    const lookUp = async (query: Record<string, string>, request = {}) =>
      system.customers.get(`/customers?${new URLSearchParams(query)}`, request)
    const person = async () => {
      const external_id = `Nr. ${newWord()}+/ä`
      const body = { ...input(), email: `Ops+${newWord()}@Example.com`, external_id }
      return (await system.customers.post('/customers', body)).body
    }

    it('when the e-mail is given in any case, then the page has that customer', async () => {
      const customer = await person()
      await newCustomer(system, { email: `x${customer.email}` })
      const { email } = customer
      for (const same of [email, email.toLowerCase(), email.toUpperCase(), ` ${email} `]) {
        const response = await lookUp({ email: same })
        expect(response.body).toEqual({ data: [customer], next_cursor: null })
        expect(response.headers.get('link')).toBeNull()
      }
    })

    it('when the external id is given exactly, then the page has that customer', async () => {
      const customer = await person()
      const { external_id } = customer
      expect((await lookUp({ external_id })).body).toEqual({ data: [customer], next_cursor: null })
      for (const other of [external_id.toUpperCase(), external_id.slice(1), `${external_id}.`, 'a\u0308']) {
        expect((await lookUp({ external_id: other })).body).toEqual({ data: [], next_cursor: null })
      }
    })

    it('when both are given, then both must match', async () => {
      const [one, other] = [await person(), await person()]
      const { email, external_id } = one
      expect((await lookUp({ email, external_id, limit: '1' })).body.data).toEqual([one])
      expect((await lookUp({ email, external_id: other.external_id })).body.data).toEqual([])
    })

    it('when nobody has it, or had it before, then the page is empty', async () => {
      const [gone, moved] = [await person(), await person()]
      await remove(gone.id)
      await replace(moved.id, { ...input(), external_id: '' })
      for (const { email, external_id } of [gone, moved, { email: 'a@b.example', external_id: '-' }]) {
        expect((await lookUp({ email })).body).toEqual({ data: [], next_cursor: null })
        expect((await lookUp({ external_id })).body).toEqual({ data: [], next_cursor: null })
      }
    })

    it('when a value is empty, then it counts as absent', async () => {
      const { body } = await system.customers.get('/customers?limit=2')
      for (const query of ['email=&limit=2', 'external_id=&limit=2', 'email=&external_id=&search=&cursor=&limit=2']) {
        expect((await system.customers.get(`/customers?${query}`)).body).toEqual(body)
      }
      const customer = await person()
      const found = await lookUp({ email: customer.email, external_id: '', search: ' ', cursor: '' })
      expect(found.body.data).toEqual([customer])
    })

    it('when it is combined with a search or a cursor, then 400 says why', async () => {
      const { next_cursor: cursor } = (await system.customers.get('/customers?limit=1')).body
      for (const [name, value] of [
        ['email', 'a@b.example'],
        ['external_id', 'A'],
      ]) {
        const refused = await lookUp({ [`${name}`]: `${value}`, search: 'a', cursor })
        expectFaults(refused, ['search', 'cursor'])
        for (const { message } of refused.body.errors) expect(message).toBe(`Can't be combined with ${name}`)
      }
      expectFaults(await lookUp({ email: 'a@b.example', external_id: 'A', search: 'a' }), ['search'])
    })

    it.each([
      ['email', 'nobody'],
      ['email', 'a b@example.com'],
      ['email', ' '],
      ['email', `${'a'.repeat(250)}@example.com`],
      ['external_id', ' '],
      ['external_id', 'a'.repeat(65)],
      ['external_id', 'two\nlines'],
      ['external_id', 'zero\u200bwidth'],
    ])('when %s is %j, then that is refused', async (name, value) => {
      expectFaults(await lookUp({ [name]: value }), [name])
    })

    it('when one is given twice or misspelled, then that is refused', async () => {
      expectFaults(await system.customers.get('/customers?email=a@b.example&email=c@d.example'), ['email'])
      expectFaults(await system.customers.get('/customers?external_ID=A'), ['external_ID'])
    })

    it('when the caller is bound to a customer, then it finds its own only', async () => {
      const [own, other] = [await person(), await person()]
      const request = { token: await system.token({ customerId: own.id }) }
      for (const name of ['email', 'external_id']) {
        expect((await lookUp({ [name]: own[name] }, request)).body.data).toEqual([own])
        expect((await lookUp({ [name]: other[name] }, request)).body).toEqual({ data: [], next_cursor: null })
      }
    })
  })

  describe('reading', () => {
    it('when a customer is read, then its version is its ETag', async () => {
      const { id } = await newCustomer(system)
      const response = await read(id)
      expect(response.status).toBe(200)
      expect(response.headers.get('etag')).toBe('"1"')
    })

    it('when another service reads it, then it gets the same customer', async () => {
      const { id } = await newCustomer(system)
      const [outside, inside] = [await read(id), await readInternal(id)]
      expect(inside.text).toBe(outside.text)
      expect(inside.headers.get('etag')).toBe('"1"')
    })

    it('when the internal route is called without the service token, then 401', async () => {
      const path = '/internal/customers/1'
      expectProblem(await system.customers.get(path, { token: null }), 401, 'unauthorized')
      expectProblem(await system.customers.get(path, { token: 'wrong' }), 401, 'invalid_token')
      expectProblem(await system.customers.get(path), 401, 'invalid_token')
    })

    it('when the internal route gets a bad or unknown id, then 400 or 404', async () => {
      const token = system.env.serviceTokens[0] ?? ''
      expectProblem(await system.customers.get('/internal/customers/abc', { token }), 400, 'invalid_id')
      expectProblem(await readInternal(Number.MAX_SAFE_INTEGER), 404, 'not_found')
    })
  })

  describe('looking up several at once', () => {
    const LOOKUPS = '/internal/customers/lookups'
    const token = () => system.env.serviceTokens[0] ?? ''
    const lookup = (id: unknown) => ({ id, correlation_id: `call:${newWord()}` })
    const lookUp = (calls: unknown) => system.customers.post(LOOKUPS, { calls }, { token: token() })

    it('when customers are looked up, then each result equals a single lookup, in order', async () => {
      const ids = await makeCustomers(3)
      const calls = [...ids.toReversed(), Number.MAX_SAFE_INTEGER, ids[0] ?? 0].map(lookup)
      const response = await lookUp(calls)
      expect(response.status).toBe(200)
      expect(response.headers.get('content-type')).toBe('application/json')
      const lone = await Promise.all(
        calls.map(({ id, correlation_id }) =>
          system.customers.get(`/internal/customers/${id}`, {
            token: token(),
            headers: { 'x-correlation-id': correlation_id },
          }),
        ),
      )
      expect(lone.map(({ status }) => status)).toEqual([200, 200, 200, 404, 200])
      const bytes = lone.map(({ status, text }) => `{"status":${status},"replayed":false,"body":${text}}`)
      expect(response.text).toBe(`{"results":[${bytes.join(',')}]}`)
    })

    it('when one was deleted or changed, then the lookup reflects that', async () => {
      const [gone, changed] = [await newCustomer(system), await newCustomer(system)]
      await remove(gone.id)
      const { body } = await replace(changed.id, input())
      expect((await lookUp([gone.id, changed.id].map(lookup))).body.results).toEqual([
        { status: 404, replayed: false, body: expect.objectContaining({ code: 'not_found' }) },
        { status: 200, replayed: false, body },
      ])
    })

    it('when 100 are looked up amid others, then each caller gets its own', async () => {
      const ids = await makeCustomers(3)
      const many = Array.from({ length: 100 }, (_, i) => ids[i % 3] ?? 0)
      const responses = await Promise.all(Array.from({ length: 6 }, () => lookUp(many.map(lookup))))
      for (const { body } of responses) {
        expect(body.results.map((result: { body: { id: number } }) => result.body.id)).toEqual(many)
      }
    })

    it('when the token is missing, wrong, or a client’s, then 401', async () => {
      const body = { calls: [lookup(1)] }
      expectProblem(await system.customers.post(LOOKUPS, body, { token: null }), 401, 'unauthorized')
      expectProblem(await system.customers.post(LOOKUPS, body, { token: 'wrong' }), 401, 'invalid_token')
      expectProblem(await system.customers.post(LOOKUPS, body), 401, 'invalid_token')
    })

    it.each([
      ['calls.0.id', { id: 0 }],
      ['calls.0.id', { id: '1' }],
      ['calls.0.id', { id: 1.5 }],
      ['calls.0.id', { id: 2 ** 53 }],
      ['calls.0.id', { id: undefined }],
      ['calls.0.correlation_id', { correlation_id: undefined }],
      ['calls.0.correlation_id', { correlation_id: 'two words' }],
      ['calls.0.correlation_id', { correlation_id: '' }],
      ['calls.0.correlation_id', { correlation_id: 'x'.repeat(129) }],
      ['calls.0.traceparent', { traceparent: 'yes' }],
      ['calls.0.name', { name: 'ACME' }],
    ])('when %s is at fault (%j), then 400 names it', async (path, change) => {
      expectFaults(await lookUp([{ ...lookup(1), ...change }, lookup(2)]), [path])
    })

    it('when there are no calls, more than 100, or other fields beside them, then 400', async () => {
      expectFaults(await lookUp([]), ['calls'])
      expectFaults(await lookUp(Array.from({ length: 101 }, () => lookup(1))), ['calls'])
      const beside = { calls: [lookup(1)], more: 1 }
      expectFaults(await system.customers.post(LOOKUPS, beside, { token: token() }), ['more'])
    })

    it('when the body is at most 4 MiB, then it is accepted, and beyond that 413', async () => {
      const largest = JSON.stringify({ calls: [lookup(1), lookup(2)] }).padEnd(4 * 1024 * 1024)
      const response = await system.customers.post(LOOKUPS, largest, { token: token() })
      expect(response.body.results).toMatchObject([{ status: 200 }, { status: 200 }])
      expectProblem(await system.customers.post(LOOKUPS, `${largest} `, { token: token() }), 413, 'payload_too_large')
    })

    it('when several are looked up, then one log line names all correlation ids', async () => {
      const calls = [1, 2, Number.MAX_SAFE_INTEGER].map(lookup)
      const before = system.log.length
      await lookUp(calls)
      const lines = system.log.slice(before).map((line) => JSON.parse(line))
      expect(lines.filter(({ msg }) => msg === 'request')).toMatchObject([
        { route: LOOKUPS, status: 200, together: calls.map(({ correlation_id }) => correlation_id) },
      ])
    })

    it('when the database fails, then each call fails and is logged with its own id', async () => {
      const started = await startSystem(engine)
      onTestFinished(() => started.stop())
      const broken = started.system
      await sql`alter table customers rename to customers_gone`.execute(broken.db)
      const calls = [lookup(1), lookup(2)]
      const response = await broken.customers.post(LOOKUPS, { calls }, { token: token() })
      expect(response.status).toBe(200)
      expect(response.body.results).toMatchObject(
        calls.map(({ correlation_id }) => ({
          status: 500,
          replayed: false,
          body: { code: 'internal_error', request_id: correlation_id },
        })),
      )
      expect(response.text).not.toMatch(/table|select|sqlite/i)
      const failed = broken.log.map((line) => JSON.parse(line)).filter(({ msg }) => msg === 'failed')
      expect(failed.map(({ correlation_id }) => correlation_id).sort()).toEqual(
        calls.map(({ correlation_id }) => correlation_id).sort(),
      )
      for (const { err } of failed) expect(err.message).toMatch(/customers/)
    })
  })

  describe('replacing', () => {
    it('when a customer is replaced, then all fields are new and the version rises', async () => {
      const before = (await system.customers.post('/customers', { ...input(), phone: '555-1234' })).body
      const body = input()
      const response = await replace(before.id, body)
      expect(response.status).toBe(200)
      expect(response.headers.get('etag')).toBe('"2"')
      expect(response.body).toEqual({ ...before, ...body, phone: null, version: 2, updated_at: expect.any(String) })
      expect(response.body.updated_at >= before.updated_at).toBe(true)
      expect((await read(before.id)).text).toBe(response.text)
    })

    it('when only the case of its own e-mail changes, then it is accepted', async () => {
      const { id, email } = await newCustomer(system)
      expect((await replace(id, { ...input(), email: email.toUpperCase() })).body.email).toBe(email.toUpperCase())
    })

    it('when the e-mail is another customer’s, then 409 and nothing changes', async () => {
      const [one, other] = [await newCustomer(system), await newCustomer(system)]
      expectProblem(await replace(one.id, { ...input(), email: other.email }), 409, 'email_taken')
      expect((await read(one.id)).body).toEqual(one)
    })

    it('when ten customers want one e-mail at once, then one gets it', async () => {
      const [ids, { email }] = [await makeCustomers(10), input()]
      const responses = await Promise.all(ids.map((id) => replace(id, { ...input(), email })))
      expect(statusCounts(responses)).toEqual({ 200: 1, 409: 9 })
    })

    it('when the e-mail was changed, then the old one is free and the new one is not', async () => {
      const { id, email } = await newCustomer(system)
      const changed = await replace(id, input())
      await newCustomer(system, { email })
      const again = await system.customers.post('/customers', { ...input(), email: changed.body.email })
      expectProblem(again, 409, 'email_taken')
    })

    it('when the body is faulty, then the fields are named and nothing changes', async () => {
      const customer = await newCustomer(system)
      expectFaults(await replace(customer.id, { name: 'A', email: 'b', id: 3 }), ['email', 'id'])
      expect((await read(customer.id)).body).toEqual(customer)
    })

    it('when the customer does not exist or its id is malformed, then 404 or 400', async () => {
      expectProblem(await replace(Number.MAX_SAFE_INTEGER, input()), 404, 'not_found')
      expectProblem(await system.customers.put('/customers/0', input()), 400, 'invalid_id')
    })

    it.each(['"1"', '*', ' * ', '"7", "1"', '"1" ,"7"', 'W/"3", "1"', 'W/"1"', '"3", W/"1"'])(
      'when If-Match is %s and the version is 1, then it is replaced',
      async (ifMatch) => {
        const { id } = await newCustomer(system)
        expect((await replace(id, input(), ifMatch)).status).toBe(200)
      },
    )

    it.each(['"2"', '"0"', 'W/"2"', '1', '"1', '"7", "8"', '"01"', ''])(
      'when If-Match is %j and the version is 1, then 412 and nothing changes',
      async (ifMatch) => {
        const customer = await newCustomer(system)
        expectProblem(await replace(customer.id, input(), ifMatch), 412, 'precondition_failed')
        expect((await read(customer.id)).body).toEqual(customer)
      },
    )

    it('when If-Match names a customer that does not exist, then 404', async () => {
      expectProblem(await replace(Number.MAX_SAFE_INTEGER, input(), '*'), 404, 'not_found')
    })

    it('when ten replace one version at once, then one succeeds and the others get 412', async () => {
      const { id } = await newCustomer(system)
      const responses = await Promise.all(Array.from({ length: 10 }, () => replace(id, input(), '"1"')))
      expect(statusCounts(responses)).toEqual({ 200: 1, 412: 9 })
      expect((await read(id)).body).toEqual(responses.find(({ status }) => status === 200)?.body)
    })

    it('when ten replace it at once without If-Match, then each succeeds', async () => {
      const { id } = await newCustomer(system)
      const responses = await Promise.all(Array.from({ length: 10 }, () => replace(id, input())))
      expect(responses.map(({ body }) => body.version).sort((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
      expect((await read(id)).body).toEqual(responses.find(({ body }) => body.version === 11)?.body)
    })
  })

  describe('deleting', () => {
    it('when a customer is deleted, then no route finds it', async () => {
      const word = newWord()
      const { id } = await newCustomer(system, { name: word })
      const response = await remove(id)
      expect({ status: response.status, text: response.text }).toEqual({ status: 204, text: '' })
      expectProblem(await read(id), 404, 'not_found')
      expectProblem(await readInternal(id), 404, 'not_found')
      expectProblem(await replace(id, input()), 404, 'not_found')
      expectProblem(await remove(id), 404, 'not_found')
      expect(idsOf(await readPages(system.customers, '/customers?limit=100'))).not.toContain(id)
      expect(await search(word)).toEqual([])
    })

    it('when a customer is deleted, then its row stays', async () => {
      const { id, email } = await newCustomer(system)
      await remove(id)
      const row = await system.db.selectFrom('customers').selectAll().where('id', '=', id).executeTakeFirstOrThrow()
      expect(row).toMatchObject({ email, email_key: null, deleted_at: expect.any(String) })
    })

    it('when a customer is deleted, then its e-mail is free, every time', async () => {
      const { email } = input()
      for (let i = 0; i < 3; i++) await remove((await newCustomer(system, { email })).id)
      expect((await system.customers.post('/customers', { ...input(), email })).status).toBe(201)
    })

    it('when the customer has orders, then it can be deleted and they stay readable', async () => {
      const { id } = await newCustomer(system)
      const product = await newProduct(system)
      const order = await newOrder(system, [{ product_id: product.id, qty: 2 }], { customer_id: id })
      expect((await remove(id)).status).toBe(204)
      expect((await system.orders.get(`/orders/${order.id}`)).body).toEqual(order)
      expect(idsOf((await system.orders.get(`/orders?customer_id=${id}`)).body.data)).toEqual([order.id])
    })

    it('when an order names a deleted customer, then that customer does not exist', async () => {
      const { id } = await newCustomer(system)
      const product = await newProduct(system)
      await remove(id)
      const order = { customer_id: id, items: [{ product_id: product.id, qty: 1 }] }
      expectProblem(await system.orders.post('/orders', order), 422, 'customer_not_found')
    })

    it('when If-Match is stale, then 412 and the customer stays', async () => {
      const { id } = await newCustomer(system)
      await replace(id, input())
      expectProblem(await remove(id, '"1"'), 412, 'precondition_failed')
      expect((await read(id)).status).toBe(200)
      expect((await remove(id, '"2"')).status).toBe(204)
    })

    it('when ten requests delete it at once, then one succeeds', async () => {
      const { id } = await newCustomer(system)
      expect(statusCounts(await Promise.all(Array.from({ length: 10 }, () => remove(id))))).toEqual({ 204: 1, 404: 9 })
    })

    it('when the id is malformed, then 400', async () => {
      expectProblem(await system.customers.delete('/customers/abc'), 400, 'invalid_id')
    })
  })

  describe('listing', () => {
    describePages(resource, { path: '/products', service: 'orders' })

    it('when rows are deleted between pages, then no other row is skipped or repeated', async () => {
      const made = await makeCustomers(6)
      const [first = 0, fifth = 0] = [made[0], made[4]]
      const rows = await readPages(system.customers, '/customers?limit=2', async (page) => {
        if (idsOf(page).includes(first)) for (const id of [first, fifth]) await remove(id)
      })
      expect(idsOf(rows).filter((id) => made.includes(id))).toEqual(made.filter((id) => id !== fifth))
    })
  })

  describe('searching', () => {
    describeSearch(resource)

    it('when the search is an e-mail or prefixes of its parts, then it finds a match', async () => {
      const [local, domain] = [newWord(), newWord()]
      const { id } = await newCustomer(system, { email: `Ops.${local}+eu@${domain}.example` })
      await newCustomer(system, { email: `ops.${newWord()}@${domain}.example` })
      expect(await search(`ops.${local}+EU@${domain}.example`)).toEqual([id])
      expect(await search(`${local}@${domain}`)).toEqual([id])
      expect(await search(domain.slice(0, 9))).toHaveLength(2)
    })

    it('when the name alone fills the word index, then the e-mail is found all the same', async () => {
      const name = Array.from({ length: 100 }, (_, i) => String.fromCodePoint(0x4e00 + i)).join(' ')
      const { id, email } = await newCustomer(system, { name })
      expect(await search(email)).toEqual([id])
      expect(await search(`${name.at(-1)}`)).toEqual([id])
    })

    it('when a customer is replaced, then only its new words find it', async () => {
      const [before, after] = [newWord(), newWord()]
      const { id } = await newCustomer(system, { name: before, email: `${before}@example.com` })
      await replace(id, { name: `The ${after}`, email: `${newWord()}@example.com` })
      expect(await search(before)).toEqual([])
      expect(await search(after)).toEqual([id])
    })

    it('when rows are deleted between pages, then no other row is skipped or repeated', async () => {
      const word = newWord()
      const made = await makeCustomers(5, word)
      const rows = await readPages(system.customers, `/customers?limit=1&search=${word}`, async (_, page) => {
        if (page === 2) for (const id of [made[1], made[3]]) await remove(id ?? 0)
      })
      expect(idsOf(rows)).toEqual([made[0], made[1], made[2], made[4]])
    })
  })

  describe('a client bound to a customer', () => {
    async function boundClient() {
      const [own, other] = [await newCustomer(system), await newCustomer(system)]
      return { own, other, request: { token: await system.token({ customerId: own.id }) } }
    }

    it('when it reads its own customer, then 200, and any other is as if unknown', async () => {
      const { own, other, request } = await boundClient()
      expect((await system.customers.get(`/customers/${own.id}`, request)).body).toEqual(own)
      const refused = await system.customers.get(`/customers/${other.id}`, request)
      const absent = await system.customers.get(`/customers/${Number.MAX_SAFE_INTEGER}`, request)
      expectProblem(refused, 404, 'not_found')
      expect(Object.keys(refused.body)).toEqual(Object.keys(absent.body))
    })

    it('when it lists or searches, then it sees only its own', async () => {
      const { own, request } = await boundClient()
      for (const query of ['', '?limit=1', '?search=customer', `?search=${own.email}`]) {
        const { body } = await system.customers.get(`/customers${query}`, request)
        expect(body).toEqual({ data: [own], next_cursor: null })
      }
      expect((await system.customers.get('/customers?search=acme', request)).body.data).toEqual([])
    })

    it('when it tries to write, then it is refused and nothing changes', async () => {
      const { own, other, request } = await boundClient()
      expectProblem(await system.customers.post('/customers', input(), request), 403, 'bound_client')
      expectProblem(await system.customers.put(`/customers/${own.id}`, input(), request), 403, 'bound_client')
      expectProblem(await system.customers.delete(`/customers/${own.id}`, request), 403, 'bound_client')
      expectProblem(await system.customers.put(`/customers/${other.id}`, input(), request), 404, 'not_found')
      expectProblem(await system.customers.delete(`/customers/${other.id}`, request), 404, 'not_found')
      for (const customer of [own, other]) expect((await read(customer.id)).body).toEqual(customer)
    })
  })

  describe('the correlation id', () => {
    const echoed = async (id: string, path = '/customers/1') =>
      (await system.customers.get(path, { headers: { 'x-correlation-id': id } })).headers.get('x-correlation-id')

    it.each(['req-789', 'a', 'A.b:c_d-9', 'x'.repeat(128)])('when it is %s, then it is echoed', async (id) => {
      expect(await echoed(id)).toBe(id)
    })

    it.each(['', 'two words', 'x'.repeat(129), 'a/b', 'é', '"quoted"'])(
      'when it is %j, then a new one is made',
      async (id) => {
        expect(await echoed(id)).toMatch(/^[\da-f]{8}-[\da-f-]{27}$/)
      },
    )

    it('when the request is refused, then the problem names it too', async () => {
      const refusals = [
        await system.customers.get('/customers/abc', { headers: { 'x-correlation-id': 'req-1' } }),
        await system.customers.get('/nowhere', { headers: { 'x-correlation-id': 'req-1' } }),
        await system.customers.call('PATCH', '/customers', { headers: { 'x-correlation-id': 'req-1' } }),
        await system.customers.get('/customers', { headers: { 'x-correlation-id': 'req-1' }, token: 'bad' }),
      ]
      for (const { headers, body } of refusals) {
        expect({ header: headers.get('x-correlation-id'), body: body.request_id }).toEqual({
          header: 'req-1',
          body: 'req-1',
        })
      }
    })
  })

  /** Created one after the other, so that their ids and matching words rise in that order. */
  async function makeCustomers(count: number, word = newWord()): Promise<number[]> {
    const ids: number[] = []
    for (let i = 0; i < count; i++) ids.push((await newCustomer(system, { name: `${word}${i}` })).id)
    return ids
  }
})
