import { describe, expect, it } from 'vitest'
import * as own from './fetch-api.ts'

const native = { Headers, Request, Response }
type Classes = typeof native

/** The results, or kinds of error, of the same work with Node's own classes and with ours. */
async function both(work: (classes: Classes) => unknown): Promise<[unknown, unknown]> {
  const outcome = async (classes: unknown) => {
    try {
      return await work(classes as Classes)
    } catch (error) {
      return error instanceof Error ? error.name : error
    }
  }
  return [await outcome(own), await outcome(native)]
}

async function expectAlike(work: (classes: Classes) => unknown): Promise<void> {
  const [ours, nodes] = await both(work)
  expect(ours).toEqual(nodes)
}

const TEXT = 'é 株式会社 🏭'
const BYTES = new TextEncoder().encode(TEXT)
const URL_OF = 'https://api.example/a/%C3%BC?b=c%20d#e'

describe('headers', () => {
  const cases: Record<string, (headers: Headers) => unknown> = {
    'one is read in any case': (headers) => [headers.get('X-a'), headers.has('x-A'), headers.get('none')],
    'two of one name are joined': (headers) => {
      headers.append('x-A', ' c\t')
      return [...headers]
    },
    'cookies are joined by semicolons, and set-cookie not at all': (headers) => {
      for (const name of ['Cookie', 'set-cookie']) for (const value of ['a=1', 'b=2']) headers.append(name, value)
      return [[...headers], headers.getSetCookie(), headers.get('set-cookie'), headers.get('cookie')]
    },
    'one is set and one is deleted': (headers) => {
      headers.set('X-A', 'd')
      headers.delete('x-b')
      return [[...headers.keys()], [...headers.values()], Object.fromEntries(headers)]
    },
    'they are walked through in the order of their names': (headers) => {
      const seen: string[] = []
      headers.set('a', '1')
      headers.forEach((value, name) => {
        seen.push(name, value)
      })
      return seen
    },
    'a name is none': (headers) => headers.set('x a', '1'),
    'a value has a line end': (headers) => headers.set('x-a', 'a\nb'),
    'a value is not of Latin letters': (headers) => headers.append('x-a', '株'),
  }

  it.each(Object.entries(cases))('when %s, then it behaves as in Node', async (_, work) => {
    await expectAlike(({ Headers }) => work(new Headers({ 'X-B': 'b', 'x-a': 'a' })))
    await expectAlike(({ Headers }) =>
      work(
        new Headers(
          new Headers([
            ['x-a', 'a'],
            ['X-b', 'b'],
          ]),
        ),
      ),
    )
  })
})

describe('requests', () => {
  const facts = ({ url, method, headers, bodyUsed }: Request) => ({ url, method, headers: [...headers], bodyUsed })
  const requests: Record<string, [string | URL, RequestInit?]> = {
    'plain one': [URL_OF],
    'one of a URL': [new URL(URL_OF), { method: 'delete', headers: { a: 'b' } }],
    'one with a text': [URL_OF, { method: 'POST', body: TEXT }],
    'one with bytes': [URL_OF, { method: 'PUT', body: BYTES, headers: { 'content-type': 'application/json' } }],
    'one by an unusual method': [URL_OF, { method: 'patch' }],
    'one to nowhere': ['/a'],
    'one that names a user': ['https://user:secret@api.example/'],
    'one by a method that is none': [URL_OF, { method: 'A B' }],
    'one by a method that is forbidden': [URL_OF, { method: 'trace' }],
    'GET with a body': [URL_OF, { body: TEXT }],
  }

  it.each(Object.entries(requests))('when it is a %s, then it equals Node’s', async (_, [input, init]) => {
    await expectAlike(async ({ Request }) => {
      const request = new Request(input, init)
      const before = facts(request)
      return { before, text: await request.text(), after: facts(request) }
    })
    await expectAlike(async ({ Request }) => (await new Request(input, init).arrayBuffer()).byteLength)
  })

  it('when it is made from another request, then it has its method, headers and body', async () => {
    const init = { method: 'POST', headers: { 'x-a': 'b' }, body: BYTES }
    const first = new own.Request(URL_OF, init)
    const second = new own.Request('https://api.example/b', first)
    expect([second.method, second.headers.get('x-a'), await second.text()]).toEqual(['POST', 'b', TEXT])
  })

  it('when its body is read twice, then the second read fails', async () => {
    await expectAlike(async ({ Request }) => {
      const request = new Request(URL_OF, { method: 'POST', body: '{}' })
      return [await request.json(), request.bodyUsed, await request.text()]
    })
  })
})

describe('responses', () => {
  const responses: Record<string, ConstructorParameters<typeof Response>> = {
    'empty one': [],
    'one without a body': [null, { status: 204, headers: { 'x-a': 'b' } }],
    'one with a text': [TEXT, { status: 422 }],
    'one with JSON': ['{"a":1}', { headers: { 'content-type': 'application/json' } }],
    'one with bytes': [BYTES],
  }

  it.each(Object.entries(responses))('when it is an %s, then it equals Node’s', async (_, [body, init]) => {
    const facts = ({ status, ok, headers }: Response) => ({ status, ok, headers: [...headers] })
    await expectAlike(async ({ Response }) => [facts(new Response(body, init)), await new Response(body, init).text()])
    await expectAlike(async ({ Response }) => {
      const first = new Response(body, init)
      const second = new Response(first.body, first)
      return [facts(second), Buffer.from(await second.arrayBuffer()).toString()]
    })
  })

  it('when it is made from a value, then it equals Node’s', async () => {
    await expectAlike(async ({ Response }) => {
      const response = Response.json({ a: TEXT }, { status: 201 })
      return [response.status, [...response.headers], await response.json()]
    })
  })
})
