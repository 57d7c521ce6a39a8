import { expect, it } from 'vitest'
import type { ApiClient, ApiRequest, ApiResponse } from './api-client.ts'
import { forgedCursor, idsOf, nextPage, readPages } from './lists.ts'
import { expectFaults, expectProblem } from './problems.ts'
import { expireKey, newKey, newWord, statusCounts } from './rows.ts'
import type { TestSystem } from './system.ts'

// Tests that every resource must pass in the same way.

/** A resource that is created, read and listed under one path. */
export interface Resource {
  system: TestSystem
  service: 'customers' | 'orders'
  path: string
  /** A valid body that differs from all others. @param name default: a new one */
  input(name?: string): { name: string }
}

const LIMIT_BYTES = 64 * 1024

function apiOf({ system, service }: Resource): ApiClient {
  return system[service]
}

async function make(resource: Resource, name?: string): Promise<{ id: number; name: string }> {
  const { status, body } = await apiOf(resource).post(resource.path, resource.input(name))
  expect(status).toBe(201)
  return body
}

/** Creates rows in sequence, so that their ids rise. */
async function makeEach(resource: Resource, names: string[]): Promise<number[]> {
  const ids: number[] = []
  for (const name of names) ids.push((await make(resource, name)).id)
  return ids
}

/** Posts bytes with only these headers. */
async function postBytes(
  resource: Resource,
  body: Uint8Array<ArrayBuffer> | ReadableStream,
  headers: Record<string, string>,
): Promise<ApiResponse> {
  const authorization = `Bearer ${await resource.system.token()}`
  const init: RequestInit & { duplex: 'half' } = {
    method: 'POST',
    headers: { authorization, ...headers },
    body,
    duplex: 'half',
  }
  const response = await fetch(`${apiOf(resource).base}${resource.path}`, init)
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, body: JSON.parse(text) }
}

/** Streams bytes, so that no length is known in advance. */
function inPieces(text: string): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of text.match(/[\s\S]{1,16384}/g) ?? []) controller.enqueue(new TextEncoder().encode(piece))
      controller.close()
    },
  })
}

/** Requests that are refused before validation. */
export function describeRequests(resource: Resource): void {
  const { path } = resource
  const post = (body: unknown, request?: ApiRequest) => apiOf(resource).post(path, body, request)
  const padded = (bytes: number) => JSON.stringify(resource.input()).padEnd(bytes, ' ')

  it.each(['{', '', '{"name": "a",}', "{'name': 'a'}", 'name=a'])(
    'when the body is %j, then it is refused as malformed',
    async (body) => {
      expectProblem(await post(body), 400, 'malformed_json')
    },
  )

  it.each(['[]', 'null', '"text"', '1'])(
    'when the body is the JSON %s, then the whole body is the fault',
    async (body) => {
      expectFaults(await post(body), [''])
    },
  )

  it('when there is no body at all, then each missing field is named', async () => {
    const { status, body } = await apiOf(resource).post(path)
    expect(status).toBe(400)
    expect(body.errors).toContainEqual(expect.objectContaining({ path: 'name' }))
  })

  it('when fields are unknown, then each is named and nothing is created', async () => {
    const text = JSON.stringify({ ...resource.input(), id: 7, version: 9 }).replace('}', ', "__proto__": {}}')
    expectFaults(await post(text), ['__proto__', 'id', 'version'])
  })

  it.each([
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'application/jsonp',
    'application/problem+json',
    'application/vnd.api+json; charset=utf-8',
  ])('when the content type is %s, then 415', async (type) => {
    expectProblem(await post(resource.input(), { headers: { 'content-type': type } }), 415, 'unsupported_media_type')
  })

  it('when the content type is JSON with a charset, then it is taken', async () => {
    const { status } = await post(resource.input(), { headers: { 'content-type': 'application/json; charset=utf-8' } })
    expect(status).toBe(201)
  })

  it('when a body comes without a content type, then 415', async () => {
    const bytes = new TextEncoder().encode(JSON.stringify(resource.input()))
    expectProblem(await postBytes(resource, bytes, {}), 415, 'unsupported_media_type')
  })

  it('when a body has 64 KiB, then it is taken, and with one byte more it is 413', async () => {
    expect((await post(padded(LIMIT_BYTES))).status).toBe(201)
    expectProblem(await post(padded(LIMIT_BYTES + 1)), 413, 'payload_too_large')
  })

  it('when a body comes in pieces of unknown number, then the limit holds all the same', async () => {
    const json = { 'content-type': 'application/json' }
    expect((await postBytes(resource, inPieces(padded(LIMIT_BYTES)), json)).status).toBe(201)
    expectProblem(await postBytes(resource, inPieces(padded(LIMIT_BYTES + 1)), json), 413, 'payload_too_large')
  })

  it('when the path is unknown, then 404', async () => {
    const { id } = await make(resource)
    for (const unknown of [`${path}/${id}/nothing`, `${path}/`, `${path}s`]) {
      expectProblem(await apiOf(resource).get(unknown), 404, 'route_not_found')
    }
  })

  it('when the method is wrong, then 405 says which are right', async () => {
    const { id } = await make(resource)
    const onList = await apiOf(resource).delete(path)
    expectProblem(onList, 405, 'method_not_allowed')
    expect(onList.headers.get('allow')).toBe('POST, GET, HEAD')
    const onOne = await apiOf(resource).post(`${path}/${id}`, {})
    expectProblem(onOne, 405, 'method_not_allowed')
    expect(onOne.headers.get('allow')).toMatch(/^GET, HEAD, /)
  })

  it.each(['0', '-1', 'abc', '1.5', '01', '+1', '1e3', '%20', '%00', '9007199254740992', '99999999999999999999'])(
    'when the id in the path is %s, then it is refused',
    async (id) => {
      expectProblem(await apiOf(resource).get(`${path}/${id}`), 400, 'invalid_id')
    },
  )

  it('when the id is a good one that names nothing, then 404', async () => {
    expectProblem(await apiOf(resource).get(`${path}/${Number.MAX_SAFE_INTEGER}`), 404, 'not_found')
  })

  it('when it is read with HEAD, then all but the body comes', async () => {
    const { id } = await make(resource)
    const [whole, head] = [
      await apiOf(resource).get(`${path}/${id}`),
      await apiOf(resource).call('HEAD', `${path}/${id}`),
    ]
    expect({ status: head.status, text: head.text }).toEqual({ status: 200, text: '' })
    for (const name of ['etag', 'content-type', 'cache-control']) {
      expect(head.headers.get(name)).toBe(whole.headers.get(name))
    }
  })

  it('when the path begins with the stage /dev, then it is the same resource', async () => {
    const { id } = await make(resource)
    const [plain, staged] = [await apiOf(resource).get(`${path}/${id}`), await apiOf(resource).get(`/dev${path}/${id}`)]
    expect(staged.text).toBe(plain.text)
  })
}

/** Creation with an idempotency key. */
export function describeKeyedCreation(resource: Resource): void {
  const post = (body: unknown, headers: Record<string, string>, token?: string) =>
    apiOf(resource).post(resource.path, body, { headers, ...(token !== undefined && { token }) })

  it('when the same request comes again with its key, then it gets the first answer, byte for byte', async () => {
    const [body, key] = [resource.input(), newKey()]
    const first = await post(body, { 'idempotency-key': key })
    const again = await post(body, { 'idempotency-key': key })
    expect(statusCounts([first, again])).toEqual({ 201: 2 })
    expect(again.text).toBe(first.text)
    expect(again.headers.get('location')).toBe(first.headers.get('location'))
    expect(first.headers.get('idempotent-replayed')).toBeNull()
    expect(again.headers.get('idempotent-replayed')).toBe('true')
  })

  it('when a key is quoted, or comes by its older header name, then it is the same key', async () => {
    const [body, key] = [resource.input(), newKey()]
    const first = await post(body, { 'idempotency-key': key })
    expect((await post(body, { 'idempotency-key': `"${key}"` })).text).toBe(first.text)
    expect((await post(body, { 'x-idempotency-key': key })).text).toBe(first.text)
    expect((await post(body, { 'x-idempotency-key': key, 'idempotency-key': key })).text).toBe(first.text)
  })

  it('when a key is used for another body, then 422', async () => {
    const key = newKey()
    await post(resource.input(), { 'idempotency-key': key })
    expectProblem(await post(resource.input(), { 'idempotency-key': key }), 422, 'idempotency_key_reused')
  })

  it('when another caller uses the same key, then it is a key of its own', async () => {
    const key = newKey()
    const other = await resource.system.token({ clientId: `other-${key}` })
    const first = await post(resource.input(), { 'idempotency-key': key })
    const second = await post(resource.input(), { 'idempotency-key': key }, other)
    expect(statusCounts([first, second])).toEqual({ 201: 2 })
    expect(second.body.id).not.toBe(first.body.id)
  })

  it('when a keyed request was refused, then the key may be used again', async () => {
    const [body, key] = [resource.input(), newKey()]
    expect((await post({ ...body, name: '' }, { 'idempotency-key': key })).status).toBe(400)
    expect((await post({ ...body, name: 'Another' }, {})).status).toBe(201)
    expect((await post(body, { 'idempotency-key': key })).status).toBe(409)
    const { status, headers } = await post(resource.input(), { 'idempotency-key': key })
    expect({ status, replayed: headers.get('idempotent-replayed') }).toEqual({ status: 201, replayed: null })
  })

  it('when the time of a key has passed, then it is free for another request', async () => {
    const key = newKey()
    await post(resource.input(), { 'idempotency-key': key })
    await expireKey(resource.system, key)
    expect((await post(resource.input(), { 'idempotency-key': key })).status).toBe(201)
  })

  it('when ten of one keyed request come at once, then one is created and all get its answer', async () => {
    // Every connection of the pool is open now, so that the ten really run at once.
    await Promise.all(Array.from({ length: 10 }, () => make(resource)))
    for (let round = 0; round < 5; round++) {
      const [body, key] = [resource.input(), newKey()]
      const answers = await Promise.all(Array.from({ length: 10 }, () => post(body, { 'idempotency-key': key })))
      expect(statusCounts(answers)).toEqual({ 201: 10 })
      expect(new Set(answers.map(({ text }) => text)).size).toBe(1)
      expect(answers.filter(({ headers }) => headers.get('idempotent-replayed') === 'true')).toHaveLength(9)
    }
  })

  it.each([
    ['empty', { 'idempotency-key': '' }],
    ['two words', { 'idempotency-key': 'a b' }],
    ['of empty quotes', { 'idempotency-key': '""' }],
    ['not ASCII', { 'idempotency-key': 'clé' }],
    ['256 characters long', { 'idempotency-key': 'k'.repeat(256) }],
    ['said twice, differently', { 'idempotency-key': 'one', 'x-idempotency-key': 'other' }],
  ])('when a key is %s, then it is refused', async (_, headers) => {
    expectProblem(await post(resource.input(), headers), 400, 'invalid_idempotency_key')
  })
}

/** Pages by id. */
export function describePages(resource: Resource, otherList: { path: string; service: 'customers' | 'orders' }): void {
  const { path } = resource

  it('when the pages are read by their links, then each row comes once, in the order of ids', async () => {
    const made = await makeEach(resource, Array.from({ length: 7 }, newWord))
    const ids = idsOf(await readPages(apiOf(resource), `${path}?limit=3`))
    expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b))
    expect(ids.slice(-7)).toEqual(made)
  })

  it('when rows are added between two pages, then no other row is skipped or repeated', async () => {
    const made = await makeEach(resource, Array.from({ length: 5 }, newWord))
    const added: number[] = []
    const rows = await readPages(apiOf(resource), `${path}?limit=2`, async (page) => {
      if (added.length < 3 && idsOf(page).some((id) => made.includes(id))) added.push((await make(resource)).id)
    })
    expect(added.length).toBeGreaterThan(0)
    expect(idsOf(rows).slice(-made.length - added.length)).toEqual([...made, ...added])
  })

  it('when no limit is given, then a page has 20 rows', async () => {
    await makeEach(resource, Array.from({ length: 21 }, newWord))
    expect((await apiOf(resource).get(path)).body.data).toHaveLength(20)
  })

  it('when the last page is exactly full, then there is no next one', async () => {
    const word = newWord()
    await makeEach(resource, [word, word])
    const actual = await apiOf(resource).get(`${path}?search=${word}&limit=2`)
    expect(actual.body.data).toHaveLength(2)
    expect(nextPage(apiOf(resource), path, actual)).toBeUndefined()
  })

  it.each(['abc', '0', '101', '-1', '1.5', '', '%20', '1e1', '05', '0x10', 'NaN'])(
    'when the limit is %j, then it is refused',
    async (limit) => {
      expectFaults(await apiOf(resource).get(`${path}?limit=${limit}`), ['limit'])
    },
  )

  it('when the limit is given twice, then it is refused', async () => {
    const actual = await apiOf(resource).get(`${path}?limit=1&limit=2`)
    expectFaults(actual, ['limit'])
    expect(actual.body.errors[0].message).toBe('Given more than once')
  })

  it.each(['page=2', 'Limit=1', 'limit%5B%5D=1', 'created_after=2026-01-01', 'x', '__proto__=1', 'page=2&page=3'])(
    'when the query is %s, of which no name is known, then the name is refused',
    async (query) => {
      const actual = await apiOf(resource).get(`${path}?${query}&limit=1`)
      expectFaults(actual, [...new URLSearchParams(query).keys()].slice(0, 1))
      expect(actual.body.errors[0].message).toBe('Unknown query parameter')
    },
  )

  it('when the cursor is empty, then it is the first page', async () => {
    const [first, empty] = [`${path}?limit=3`, `${path}?limit=3&cursor=`]
    expect((await apiOf(resource).get(empty)).text).toBe((await apiOf(resource).get(first)).text)
  })

  it('when the limit is 1 or 100, then it is taken', async () => {
    for (const limit of [1, 100]) expect((await apiOf(resource).get(`${path}?limit=${limit}`)).status).toBe(200)
  })

  it.each([
    '%00',
    'abc',
    '%F0%9F%98%80',
    'e30',
    'bnVsbA',
    'x'.repeat(501),
    forgedCursor(),
    forgedCursor('nothing', 1),
    ...[[], [0], [-1], [1.5], ['1'], [null], [1, 1], [[1]]].map((place) => forgedCursor(path.slice(1), ...place)),
  ])('when the cursor is %j, then it is refused', async (cursor) => {
    expectFaults(await apiOf(resource).get(`${path}?cursor=${cursor}`), ['cursor'])
  })

  it('when the cursor is of another list, then it is refused', async () => {
    const { body: other } = await resource.system[otherList.service].get(`${otherList.path}?limit=1`)
    expect(other.next_cursor).toMatch(/./)
    expectFaults(await apiOf(resource).get(`${path}?cursor=${other.next_cursor}`), ['cursor'])
  })

  it('when a cursor of the plain list is used with a search, or the other way round, then it is refused', async () => {
    const word = newWord()
    await makeEach(resource, [word, word])
    const plain = await apiOf(resource).get(`${path}?limit=1`)
    const found = await apiOf(resource).get(`${path}?limit=1&search=${word}`)
    const [plainCursor, foundCursor] = [plain.body.next_cursor, found.body.next_cursor]
    expectFaults(await apiOf(resource).get(`${path}?search=${word}&cursor=${plainCursor}`), ['cursor'])
    expectFaults(await apiOf(resource).get(`${path}?cursor=${foundCursor}`), ['cursor'])
  })
}

/** Search in names. */
export function describeSearch(resource: Resource): void {
  const { path } = resource
  const search = async (text: string): Promise<number[]> =>
    idsOf(await readPages(apiOf(resource), `${path}?limit=2&search=${encodeURIComponent(text)}`))

  it('when the search begins any word of a name, then it is found, and in the middle of a word it is not', async () => {
    const word = newWord()
    const { id } = await make(resource, `Big ${word} Store`)
    expect(await search(word)).toEqual([id])
    expect(await search(word.slice(0, -1))).toEqual([id])
    expect(await search(word.slice(1))).toEqual([])
    expect(await search(`${word}x`)).toEqual([])
  })

  it('when case and accents differ, then it is found all the same', async () => {
    const word = newWord()
    const { id } = await make(resource, `Ünïcödé Straße ΟΔΟΣ ${word}`)
    const asked = ['unicode', 'ÜNÏCÖDÉ', 'Unicodé', 'STRASSE', 'straße', 'οδος', 'οδο', 'ΟΔΟΣ', 'Οδός']
    for (const text of asked) expect({ text, ids: await search(`${text} ${word}`) }).toEqual({ text, ids: [id] })
  })

  it('when a name has letters such as ø, đ, æ or ł, then it is found with and without them', async () => {
    const word = newWord()
    const { id } = await make(resource, `Ølgod Đorđe Ærø Łódź ${word}`)
    for (const text of ['olgod', 'Ølgod', 'DORD', 'đorđe', 'aero', 'ærø', 'ae', 'lodz', 'ŁÓDŹ']) {
      expect({ text, ids: await search(`${text} ${word}`) }).toEqual({ text, ids: [id] })
    }
  })

  it('when several words are asked for, then all must be there, in any order', async () => {
    const [one, two, other] = [newWord(), newWord(), newWord()]
    const { id } = await make(resource, `${one}-${two}`)
    await make(resource, `${one} ${other}`)
    expect(await search(`${two} ${one}`)).toEqual([id])
    expect(await search(`${two.slice(0, 8)}, ${one.slice(0, 8)}!`)).toEqual([id])
    expect(await search(`${two} ${other}`)).toEqual([])
    expect(await search(`${one} ${two} ${newWord()}`)).toEqual([])
  })

  it('when a row matches by several words, then no page repeats it', async () => {
    const word = newWord()
    const [first, second] = await makeEach(resource, [`${word}a ${word}c ${word}`, `${word}b ${word}d`])
    const rows = await readPages(apiOf(resource), `${path}?limit=1&search=${word}`)
    expect(idsOf(rows)).toEqual([first, second])
  })

  it('when rows are added between two pages, then no other row is skipped or repeated', async () => {
    const word = newWord()
    const made = await makeEach(
      resource,
      ['b', 'd', 'f', 'h'].map((end) => `${word}${end}`),
    )
    const added: number[] = []
    const rows = await readPages(apiOf(resource), `${path}?limit=1&search=${word}`, async (_, page) => {
      if (page === 2) added.push(...(await makeEach(resource, [`${word}a ${word}c`, `${word}e`, word])))
    })
    const [, later] = added
    expect(idsOf(rows)).toEqual([made[0], made[1], later, made[2], made[3]])
  })

  it('when the words are as long as can be, in any script, then the pages go on', async () => {
    // Each of these letters is two code units in JavaScript and one character in the database.
    const word = `${newWord()}${'𐐨'.repeat(70)}`
    const made = await makeEach(resource, [word, word, word])
    const rows = await readPages(apiOf(resource), `${path}?limit=1&search=${encodeURIComponent(word)}`)
    expect(idsOf(rows)).toEqual(made)
  })

  it('when the search is blank, then it is the plain list', async () => {
    const plain = await apiOf(resource).get(`${path}?limit=3`)
    for (const blank of ['', '%20', '%20%09']) {
      expect((await apiOf(resource).get(`${path}?limit=3&search=${blank}`)).text).toBe(plain.text)
    }
  })

  it.each(['%', '_', '*', '@', '!?', "'", '\u0000', '\u200d'])(
    'when the search is %j, of which no word is left, then nothing is found',
    async (text) => {
      expect(await search(text)).toEqual([])
    },
  )

  it('when the search holds as many words as fit, then it is answered', async () => {
    const words = Array.from({ length: 66 }, (_, i) => (i + 100).toString(36)).join(' ')
    const { id } = await make(resource, words)
    expect(await search(words)).toEqual([id])
  })

  it('when the search is longer than 200 characters, or given twice, then it is refused', async () => {
    expectFaults(await apiOf(resource).get(`${path}?search=${'a'.repeat(201)}`), ['search'])
    expectFaults(await apiOf(resource).get(`${path}?search=a&search=b`), ['search'])
  })
}
