import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { nowhere } from '../../tests/support/services.ts'
import { type Call, callService, type Route } from './client.ts'
import { AppError, type ErrorCode } from './errors.ts'
import { problemDocument } from './problems.ts'
import { serve } from './serving.ts'

const Answer = z.object({ id: z.int() })
const GET: Call<typeof Answer> = {
  method: 'GET',
  path: '/things/1',
  trace: { correlationId: 'req-1', traceparent: undefined },
  answer: Answer,
}
const POST: Call<typeof Answer> = { ...GET, method: 'POST', path: '/things', body: { a: 1 }, idempotencyKey: 'key-1' }

const ok = () => Response.json({ id: 1 })
const status = (code: number) => () => new Response('<h1>Sorry</h1>', { status: code })
const never = () => new Promise<Response>(() => {})

function problem(code: ErrorCode, extra = {}, status?: number) {
  const document = problemDocument(new AppError(code, `Detail of ${code}.`, extra), 'req-1')
  return () => Response.json(document, { status: status ?? document.status })
}

/** A real neighbour that gives these answers in turn, the last one from then on, and keeps what it was asked. */
async function neighbour(...answers: (() => Response | Promise<Response>)[]) {
  const asked: { method: string; path: string; headers: Headers; body: string }[] = []
  const answer = async (request: Request) => {
    const { pathname } = new URL(request.url)
    asked.push({ method: request.method, path: pathname, headers: request.headers, body: await request.text() })
    return (answers[asked.length - 1] ?? answers.at(-1) ?? ok)()
  }
  const serving = await serve({ fetch: answer }, 0)
  onTestFinished(() => serving.close())
  const route: Route = {
    base: `http://127.0.0.1:${serving.port}`,
    fetch,
    token: 'service-token',
    timeoutMs: 20_000,
    attempts: 3,
  }
  return { route, asked }
}

/** What a call was refused with. */
async function refusal(route: Route, call = GET): Promise<AppError> {
  const error = await callService(route, call).catch((thrown: unknown) => thrown)
  if (error instanceof AppError) return error
  throw new Error('the call was not refused')
}

describe('a call', () => {
  it('when it is answered, then it gives the answer in the declared shape', async () => {
    const { route } = await neighbour(() => Response.json({ id: 1, more: true }))
    expect(await callService(route, GET)).toEqual({ value: { id: 1 }, replayed: false })
  })

  it('when the answer is a stored one, then it says so', async () => {
    const { route } = await neighbour(() => Response.json({ id: 1 }, { headers: { 'idempotent-replayed': 'true' } }))
    expect((await callService(route, POST)).replayed).toBe(true)
  })

  it('when it has a body, a key and a trace, then all arrive', async () => {
    const { route, asked } = await neighbour(ok)
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await callService(route, { ...POST, trace: { correlationId: 'req-2', traceparent } })
    expect(asked).toMatchObject([{ method: 'POST', path: '/things', body: '{"a":1}' }])
    expect(Object.fromEntries(asked[0]?.headers ?? [])).toMatchObject({
      authorization: 'Bearer service-token',
      accept: 'application/json',
      'content-type': 'application/json',
      'idempotency-key': 'key-1',
      'x-correlation-id': 'req-2',
      traceparent,
    })
  })

  it('when it has none of them, then it has no such headers', async () => {
    const { route, asked } = await neighbour(ok)
    await callService(route, GET)
    const names = [...(asked[0]?.headers.keys() ?? [])]
    for (const name of ['content-type', 'idempotency-key', 'traceparent']) expect(names).not.toContain(name)
    expect(asked[0]?.headers.get('x-correlation-id')).toBe('req-1')
  })
})

describe('an address', () => {
  /** The request that would go to this address. */
  async function requestTo(base: string): Promise<Request> {
    const requests: Request[] = []
    const answer = (url: string, init: RequestInit) => {
      requests.push(new Request(url, init))
      return ok()
    }
    await callService({ base, fetch: answer, token: 't', timeoutMs: 20_000, attempts: 1 }, GET)
    const [request] = requests
    if (request === undefined) throw new Error('nothing was asked')
    return request
  }

  it.each([
    ['http://orders:3010', 'http://orders:3010/things/1'],
    ['http://orders:3010/', 'http://orders:3010/things/1'],
    ['https://api.example/dev', 'https://api.example/dev/things/1'],
    ['https://api.example/a/b//', 'https://api.example/a/b/things/1'],
  ])('when it is %s, then the call goes to %s', async (base, url) => {
    expect((await requestTo(base)).url).toBe(url)
  })

  it.each([
    ['https://shop.loca.lt', 'bypass-tunnel-reminder'],
    ['https://shop.ngrok-free.app/dev', 'ngrok-skip-browser-warning'],
    ['https://shop.ngrok.io', 'ngrok-skip-browser-warning'],
  ])('when it is the tunnel %s, then the call has the header that skips its page', async (base, header) => {
    expect((await requestTo(base)).headers.get(header)).toBe('true')
  })

  it('when it is no tunnel, then the call has no such header', async () => {
    for (const base of ['http://localhost:3001', 'https://loca.lt.example', 'https://notloca.lt']) {
      const names = [...(await requestTo(base)).headers.keys()]
      expect(names.filter((name) => /tunnel|ngrok/.test(name))).toEqual([])
    }
  })
})

describe('a failure that may pass', () => {
  it.each([429, 502, 503, 504])('when it is a %d, then the call is made again, with the same key', async (code) => {
    const { route, asked } = await neighbour(status(code), ok)
    expect((await callService(route, POST)).value).toEqual({ id: 1 })
    expect(asked.map(({ body, headers }) => [body, headers.get('idempotency-key')])).toEqual([
      ['{"a":1}', 'key-1'],
      ['{"a":1}', 'key-1'],
    ])
  })

  it('when nobody listens, then the call is made again, and at last unavailable', async () => {
    const { route, asked } = await neighbour(ok)
    const dead = await nowhere()
    let calls = 0
    const deadTwice = (url: string, init: RequestInit) => fetch(++calls <= 2 ? dead : url, init)
    expect((await callService({ ...route, fetch: deadTwice }, GET)).value).toEqual({ id: 1 })
    expect(asked).toHaveLength(1)
    expect((await refusal({ ...route, base: dead, attempts: 2 })).code).toBe('unavailable')
  })

  it('when no answer comes in time, then the call is made again', async () => {
    const { route, asked } = await neighbour(never, ok)
    expect((await callService({ ...route, timeoutMs: 200, attempts: 10 }, GET)).value).toEqual({ id: 1 })
    expect(asked.length).toBeGreaterThan(1)
  })

  it('when it does not pass, then the calls end with the attempts', async () => {
    const { route, asked } = await neighbour(status(503))
    expect((await refusal(route)).code).toBe('unavailable')
    expect(asked).toHaveLength(3)
  })

  it.each([400, 401, 403, 404, 405, 409, 422, 500, 501])('when it is a %d, then one call is enough', async (code) => {
    const { route, asked } = await neighbour(status(code), ok)
    expect((await refusal(route)).code).toBe('upstream_failed')
    expect(asked).toHaveLength(1)
  })

  it('when the caller gives up meanwhile, then no further call is made', async () => {
    const controller = new AbortController()
    const giveUp = () => {
      controller.abort()
      return status(503)()
    }
    const { route, asked } = await neighbour(status(503), giveUp, ok)
    const error = await refusal({ ...route, attempts: 100 }, { ...GET, signal: controller.signal })
    expect(error.code).toBe('deadline_exceeded')
    expect(asked).toHaveLength(2)
  })

  it('when the caller has given up before, then no call is made', async () => {
    const { route, asked } = await neighbour(ok)
    expect((await refusal(route, { ...GET, signal: AbortSignal.abort() })).code).toBe('deadline_exceeded')
    expect(asked).toHaveLength(0)
  })
})

describe('the time limit of a call', () => {
  const impatient = { timeoutMs: 50, attempts: 1 }

  it('when the answer does not begin in time, then deadline_exceeded', async () => {
    const { route } = await neighbour(never)
    expect((await refusal({ ...route, ...impatient })).code).toBe('deadline_exceeded')
  })

  it('when the answer begins and does not end in time, then deadline_exceeded', async () => {
    const halting = () => new Response(new ReadableStream({ start: (controller) => controller.enqueue('{"id":') }))
    const { route } = await neighbour(halting)
    expect((await refusal({ ...route, ...impatient })).code).toBe('deadline_exceeded')
  })

  it('when the neighbour is in the same process and does not look at the signal, then it holds too', async () => {
    const route: Route = { base: 'http://orders.internal', fetch: never, token: 't', ...impatient }
    expect((await refusal(route)).code).toBe('deadline_exceeded')
  })
})

describe('an answer', () => {
  it.each([
    ['a page', () => new Response('<h1>Welcome</h1>', { headers: { 'content-type': 'text/html' } })],
    ['empty', () => new Response(null, { status: 204 })],
    ['of another shape', () => Response.json({ id: '1' })],
    ['null', () => Response.json(null)],
    ['a redirect', () => new Response(null, { status: 302, headers: { location: 'https://elsewhere.example' } })],
  ])('when it is %s, then upstream_failed, and it is not asked for again', async (_, answer) => {
    const { route, asked } = await neighbour(answer, ok)
    expect((await refusal(route)).code).toBe('upstream_failed')
    expect(asked).toHaveLength(1)
  })

  it('when it is a problem document, then it is the error that it was, with its facts', async () => {
    const lines = [{ product_id: 1, requested: 3, available: 2 }]
    const { route } = await neighbour(problem('insufficient_stock', { lines }))
    expect(await refusal(route)).toMatchObject({
      code: 'insufficient_stock',
      message: 'Detail of insufficient_stock.',
      extra: { lines },
    })
  })

  it.each<[ErrorCode, ErrorCode]>([
    ['customer_not_found', 'customer_not_found'],
    ['validation_failed', 'validation_failed'],
    ['idempotency_key_reused', 'idempotency_key_reused'],
    ['overloaded', 'overloaded'],
    ['upstream_failed', 'upstream_failed'],
    ['deadline_exceeded', 'deadline_exceeded'],
    ['rate_limited', 'unavailable'],
  ])('when it is the problem %s, then the caller meets %s', async (theirs, ours) => {
    const { route } = await neighbour(problem(theirs))
    expect((await refusal({ ...route, attempts: 1 })).code).toBe(ours)
  })

  it.each<ErrorCode>([
    'unauthorized',
    'invalid_token',
    'insufficient_scope',
    'bound_client',
    'route_not_found',
    'method_not_allowed',
    'internal_error',
  ])('when it is the problem %s, which no caller can mend, then upstream_failed', async (code) => {
    const { route } = await neighbour(problem(code))
    expect((await refusal(route)).code).toBe('upstream_failed')
  })

  it('when it is a problem that contradicts itself or that nobody knows, then upstream_failed', async () => {
    const unknown = (code: unknown) => () => Response.json({ code, detail: 'Something.', status: 409 }, { status: 409 })
    const answers = [problem('email_taken', {}, 404), unknown('no_such_code'), unknown('toString'), unknown(7)]
    for (const answer of answers) {
      const { route } = await neighbour(answer)
      expect((await refusal(route)).code).toBe('upstream_failed')
    }
  })

  it('when the neighbour failed, then its reasons stay between the services', async () => {
    for (const answer of [problem('internal_error'), problem('unavailable'), status(500), status(504)]) {
      const { route } = await neighbour(answer)
      const error = await refusal({ ...route, attempts: 1 })
      expect(error.message).not.toMatch(/Detail|Sorry/)
      expect(error.extra).toEqual({})
    }
  })
})
