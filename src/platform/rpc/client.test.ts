import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { nowhere } from '../../../testing/services.ts'
import { AppError, type ErrorCode } from '../core/errors.ts'
import { problemDocument } from '../http/problem-details.ts'
import { serve } from '../http/server.ts'
import { MAX_BATCHED_CALLS } from './batch-route.ts'
import { type Call, callService, createBatchedCalls, type Upstream } from './client.ts'

const Widget = z.object({ id: z.int() })
const GET: Call<typeof Widget> = {
  method: 'GET',
  path: '/things/1',
  trace: { correlationId: 'req-1', traceparent: undefined },
  responseSchema: Widget,
}
const POST: Call<typeof Widget> = { ...GET, method: 'POST', path: '/things', body: { a: 1 }, idempotencyKey: 'key-1' }

const ok = () => Response.json({ id: 1 })
const status = (code: number) => () => new Response('<h1>Sorry</h1>', { status: code })
const never = () => new Promise<Response>(() => {})

function problem(code: ErrorCode, extra = {}, status?: number) {
  const document = problemDocument(new AppError(code, `Detail of ${code}.`, extra), 'req-1')
  return () => Response.json(document, { status: status ?? document.status })
}

interface Asked {
  method: string
  path: string
  headers: Headers
  body: string
}

/** A real neighbour that gives these answers in turn, the last one from then on, and keeps what it was asked. */
async function neighbour(...responses: ((asked: Asked) => Response | Promise<Response>)[]) {
  const asked: Asked[] = []
  const handle = async (request: Request) => {
    const { pathname } = new URL(request.url)
    const one = { method: request.method, path: pathname, headers: request.headers, body: await request.text() }
    asked.push(one)
    return (responses[asked.length - 1] ?? responses.at(-1) ?? ok)(one)
  }
  const serving = await serve({ fetch: handle }, 0)
  onTestFinished(() => serving.close())
  const upstream: Upstream = {
    base: `http://127.0.0.1:${serving.port}`,
    fetch,
    token: 'service-token',
    timeoutMs: 20_000,
    attempts: 3,
  }
  return { upstream, asked }
}

/** What a call was refused with. */
async function refusal(upstream: Upstream, call = GET): Promise<AppError> {
  const error = await callService(upstream, call).catch((thrown: unknown) => thrown)
  if (error instanceof AppError) return error
  throw new Error('the call was not refused')
}

describe('a call', () => {
  it('when it is answered, then it gives the answer in the declared shape', async () => {
    const { upstream } = await neighbour(() => Response.json({ id: 1, more: true }))
    expect(await callService(upstream, GET)).toEqual({ value: { id: 1 }, replayed: false })
  })

  it('when the answer is a stored one, then it says so', async () => {
    const { upstream } = await neighbour(() => Response.json({ id: 1 }, { headers: { 'idempotent-replayed': 'true' } }))
    expect((await callService(upstream, POST)).replayed).toBe(true)
  })

  it('when it has a body, a key and a trace, then all arrive', async () => {
    const { upstream, asked } = await neighbour(ok)
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await callService(upstream, { ...POST, trace: { correlationId: 'req-2', traceparent } })
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
    const { upstream, asked } = await neighbour(ok)
    await callService(upstream, GET)
    const names = [...(asked[0]?.headers.keys() ?? [])]
    for (const name of ['content-type', 'idempotency-key', 'traceparent']) expect(names).not.toContain(name)
    expect(asked[0]?.headers.get('x-correlation-id')).toBe('req-1')
  })
})

describe('an address', () => {
  /** The request that would go to this address. */
  async function requestTo(base: string): Promise<Request> {
    const requests: Request[] = []
    const send = (url: string, init: RequestInit) => {
      requests.push(new Request(url, init))
      return ok()
    }
    await callService({ base, fetch: send, token: 't', timeoutMs: 20_000, attempts: 1 }, GET)
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
    const { upstream, asked } = await neighbour(status(code), ok)
    expect((await callService(upstream, POST)).value).toEqual({ id: 1 })
    expect(asked.map(({ body, headers }) => [body, headers.get('idempotency-key')])).toEqual([
      ['{"a":1}', 'key-1'],
      ['{"a":1}', 'key-1'],
    ])
  })

  it('when nobody listens, then the call is made again, and at last unavailable', async () => {
    const { upstream, asked } = await neighbour(ok)
    const dead = await nowhere()
    let calls = 0
    const deadTwice = (url: string, init: RequestInit) => fetch(++calls <= 2 ? dead : url, init)
    expect((await callService({ ...upstream, fetch: deadTwice }, GET)).value).toEqual({ id: 1 })
    expect(asked).toHaveLength(1)
    expect((await refusal({ ...upstream, base: dead, attempts: 2 })).code).toBe('unavailable')
  })

  it('when no answer comes in time, then the call is made again', async () => {
    const { upstream, asked } = await neighbour(never, ok)
    expect((await callService({ ...upstream, timeoutMs: 200, attempts: 10 }, GET)).value).toEqual({ id: 1 })
    expect(asked.length).toBeGreaterThan(1)
  })

  it('when it does not pass, then the calls end with the attempts', async () => {
    const { upstream, asked } = await neighbour(status(503))
    expect((await refusal(upstream)).code).toBe('unavailable')
    expect(asked).toHaveLength(3)
  })

  it('when it says when to try again, then the call waits so long', async () => {
    const { upstream, asked } = await neighbour(problem('overloaded', { retry_after: 1 }), ok)
    const began = performance.now()
    expect((await callService(upstream, POST)).value).toEqual({ id: 1 })
    expect(performance.now() - began).toBeGreaterThanOrEqual(1_000)
    expect(asked).toHaveLength(2)
  })

  it.each([429, 503])('when a %d asks for more time than a call has, then that is told at once', async (code) => {
    const { upstream, asked } = await neighbour(
      () => new Response('', { status: code, headers: { 'retry-after': '60' } }),
    )
    const { code: refused, extra } = await refusal({ ...upstream, timeoutMs: 5_000 })
    expect({ refused, extra }).toEqual({ refused: 'unavailable', extra: { retry_after: 60 } })
    expect(asked).toHaveLength(1)
  })

  it.each([400, 401, 403, 404, 405, 409, 422, 500, 501])('when it is a %d, then one call is enough', async (code) => {
    const { upstream, asked } = await neighbour(status(code), ok)
    expect((await refusal(upstream)).code).toBe('upstream_failed')
    expect(asked).toHaveLength(1)
  })

  it('when the caller gives up meanwhile, then no further call is made', async () => {
    const controller = new AbortController()
    const giveUp = () => {
      controller.abort()
      return status(503)()
    }
    const { upstream, asked } = await neighbour(status(503), giveUp, ok)
    const error = await refusal({ ...upstream, attempts: 100 }, { ...GET, signal: controller.signal })
    expect(error.code).toBe('deadline_exceeded')
    expect(asked).toHaveLength(2)
  })

  it('when the caller has given up before, then no call is made', async () => {
    const { upstream, asked } = await neighbour(ok)
    expect((await refusal(upstream, { ...GET, signal: AbortSignal.abort() })).code).toBe('deadline_exceeded')
    expect(asked).toHaveLength(0)
  })
})

describe('the time limit of a call', () => {
  const impatient = { timeoutMs: 50, attempts: 1 }

  it('when the answer does not begin in time, then deadline_exceeded', async () => {
    const { upstream } = await neighbour(never)
    expect((await refusal({ ...upstream, ...impatient })).code).toBe('deadline_exceeded')
  })

  it('when the answer begins and does not end in time, then deadline_exceeded', async () => {
    const halting = () => new Response(new ReadableStream({ start: (controller) => controller.enqueue('{"id":') }))
    const { upstream } = await neighbour(halting)
    expect((await refusal({ ...upstream, ...impatient })).code).toBe('deadline_exceeded')
  })

  it('when the neighbour is in the same process and does not look at the signal, then it holds too', async () => {
    const upstream: Upstream = { base: 'http://orders.internal', fetch: never, token: 't', ...impatient }
    expect((await refusal(upstream)).code).toBe('deadline_exceeded')
  })
})

describe('an answer', () => {
  it.each([
    ['a page', () => new Response('<h1>Welcome</h1>', { headers: { 'content-type': 'text/html' } })],
    ['empty', () => new Response(null, { status: 204 })],
    ['of another shape', () => Response.json({ id: '1' })],
    ['null', () => Response.json(null)],
    ['a redirect', () => new Response(null, { status: 302, headers: { location: 'https://elsewhere.example' } })],
  ])('when it is %s, then upstream_failed, and it is not asked for again', async (_, response) => {
    const { upstream, asked } = await neighbour(response, ok)
    expect((await refusal(upstream)).code).toBe('upstream_failed')
    expect(asked).toHaveLength(1)
  })

  it('when it is a problem document, then it is the error that it was, with its facts', async () => {
    const lines = [{ product_id: 1, requested: 3, available: 2 }]
    const { upstream } = await neighbour(problem('insufficient_stock', { lines }))
    expect(await refusal(upstream)).toMatchObject({
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
    const { upstream } = await neighbour(problem(theirs))
    expect((await refusal({ ...upstream, attempts: 1 })).code).toBe(ours)
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
    const { upstream } = await neighbour(problem(code))
    expect((await refusal(upstream)).code).toBe('upstream_failed')
  })

  it('when it is a problem that contradicts itself or that nobody knows, then upstream_failed', async () => {
    const unknown = (code: unknown) => () => Response.json({ code, detail: 'Something.', status: 409 }, { status: 409 })
    const responses = [problem('email_taken', {}, 404), unknown('no_such_code'), unknown('toString'), unknown(7)]
    for (const response of responses) {
      const { upstream } = await neighbour(response)
      expect((await refusal(upstream)).code).toBe('upstream_failed')
    }
  })

  it.each([
    ['unavailable', problem('unavailable')],
    ['overloaded', problem('overloaded')],
    ['rate limited', problem('rate_limited')],
    ['503', status(503)],
    ['504', status(504)],
    ['502', status(502)],
    ['401', problem('invalid_token')],
  ])('when it is %s, then the cause, which is for the log, says who answered and what', async (_, response) => {
    const { upstream } = await neighbour(response)
    const { cause } = await refusal({ ...upstream, attempts: 1 })
    expect(cause).toMatch(new RegExp(`^${upstream.base} answered (401|429|502|503|504)`))
  })

  it('when there is none, then the cause says who did not answer', async () => {
    const silent = await neighbour(never)
    const late = await refusal({ ...silent.upstream, timeoutMs: 50, attempts: 1 })
    expect(late.cause).toMatchObject({ message: `${silent.upstream.base} did not answer in time` })
    const base = await nowhere()
    const away = await refusal({ ...silent.upstream, base, attempts: 1 })
    expect(away.cause).toMatchObject({ message: `${base} cannot be reached`, cause: expect.any(Error) })
  })

  it('when the neighbour failed, then its reasons stay between the services', async () => {
    for (const response of [problem('internal_error'), problem('unavailable'), status(500), status(504)]) {
      const { upstream } = await neighbour(response)
      const error = await refusal({ ...upstream, attempts: 1 })
      expect(error.message).not.toMatch(/Detail|Sorry/)
      expect(error.extra).toEqual({})
    }
  })
})

describe('calls that can be shared', () => {
  const TOGETHER = '/internal/things/together'

  /** One that each caller makes for a thing of its own, with a key and a trace of its own. */
  function callFor(id: number, change: Partial<Call<typeof Widget>> = {}): Call<typeof Widget> {
    const trace = { correlationId: `req-${id}`, traceparent: undefined }
    return { ...POST, path: `/things/${id}`, body: { thing: id }, idempotencyKey: `key-${id}`, trace, ...change }
  }

  /** All of these at one moment, and what each of their callers gets: the reply, or the code it is refused with. */
  async function outcomesOf(upstream: Upstream, calls: Call<typeof Widget>[]): Promise<unknown[]> {
    const send = createBatchedCalls(upstream, TOGETHER)
    const settled = await Promise.allSettled(calls.map((call) => send(call, { thing: call.path.slice(8) })))
    return settled.map((one) => (one.status === 'fulfilled' ? one.value : one.reason.code))
  }

  const reply = (id: number, replayed = false) => ({ value: { id }, replayed })
  const done = (id: number) => ({ status: 201, replayed: false, body: { id } })
  const refused = (code: ErrorCode, extra = {}) => {
    const body = problemDocument(new AppError(code, `Detail of ${code}.`, extra), 'req-1')
    return { status: body.status, replayed: false, body }
  }
  const failing = (status: number) => ({ status, replayed: false, body: null })
  const results = (...some: unknown[]) => Response.json({ results: some })

  /** A neighbour that does whatever it is asked for, alone or together. */
  function doAll({ path, body }: Asked): Response {
    if (path !== TOGETHER) return Response.json({ id: Number(path.slice(8)) }, { status: 201 })
    return results(...idsIn(body).map(done))
  }

  function idsIn(body: string): number[] {
    return JSON.parse(body).calls.map(({ thing }: { thing: string }) => Number(thing))
  }

  /** How many calls each request carried, or the path of a lone one. */
  function carried(asked: Asked[]): (number | string)[] {
    return asked.map(({ path, body }) => (path === TOGETHER ? idsIn(body).length : path))
  }

  it('when a call is alone, then it goes as it would have gone without the others', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const lone = [callFor(1, { trace: { correlationId: 'req-1', traceparent } }), GET]
    const { upstream, asked } = await neighbour(ok)
    for (const call of lone) {
      await callService(upstream, call)
      expect(await outcomesOf(upstream, [call])).toEqual([reply(1)])
    }
    const seen = asked.map(({ headers, ...rest }) => ({ ...rest, headers: Object.fromEntries(headers) }))
    expect(seen[1]).toEqual(seen[0])
    expect(seen[3]).toEqual(seen[2])
    expect(seen.map(({ path }) => path)).toEqual(['/things/1', '/things/1', '/things/1', '/things/1'])
  })

  it('when calls come one after the other, then each is alone', async () => {
    const { upstream, asked } = await neighbour(doAll)
    const send = createBatchedCalls(upstream, TOGETHER)
    for (const id of [1, 2]) expect(await send(callFor(id), { thing: id })).toEqual(reply(id))
    expect(carried(asked)).toEqual(['/things/1', '/things/2'])
  })

  it('when several come at one moment, then they travel in one request, each with its own trace', async () => {
    const { upstream, asked } = await neighbour(doAll)
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const traced = callFor(2, { trace: { correlationId: 'flow:2', traceparent } })
    expect(await outcomesOf(upstream, [callFor(1), traced, callFor(3)])).toEqual([reply(1), reply(2), reply(3)])
    expect(asked).toMatchObject([{ method: 'POST', path: TOGETHER }])
    expect(JSON.parse(asked[0]?.body ?? '')).toEqual({
      calls: [
        { thing: '1', correlation_id: 'req-1' },
        { thing: '2', correlation_id: 'flow:2', traceparent },
        { thing: '3', correlation_id: 'req-3' },
      ],
    })
  })

  it('when several travel together, then the request has our token and nothing of any one of them', async () => {
    const { upstream, asked } = await neighbour(doAll)
    await outcomesOf(upstream, [callFor(1), callFor(2)])
    const { headers } = asked[0] ?? { headers: new Headers() }
    expect(headers.get('authorization')).toBe('Bearer service-token')
    expect(headers.get('content-type')).toBe('application/json')
    for (const name of ['idempotency-key', 'x-correlation-id', 'traceparent']) expect(headers.get(name)).toBeNull()
  })

  it('when the address has a path of its own, then the one request keeps it', async () => {
    const { upstream, asked } = await neighbour(({ body }) => results(...idsIn(body).map(done)))
    await outcomesOf({ ...upstream, base: `${upstream.base}/dev/` }, [callFor(1), callFor(2)])
    expect(asked.map(({ path }) => path)).toEqual([`/dev${TOGETHER}`])
  })

  it('when they are done, stored before, refused, or answered in another shape, then each caller gets its own', async () => {
    const { upstream, asked } = await neighbour(() =>
      results(
        done(1),
        { ...done(2), replayed: true },
        refused('insufficient_stock'),
        { status: 201, replayed: false, body: { id: 'four' } },
        refused('not_found'),
        refused('internal_error'),
        done(7),
      ),
    )
    expect(
      await outcomesOf(
        upstream,
        [1, 2, 3, 4, 5, 6, 7].map((id) => callFor(id)),
      ),
    ).toEqual([
      reply(1),
      reply(2, true),
      'insufficient_stock',
      'upstream_failed',
      'not_found',
      'upstream_failed',
      reply(7),
    ])
    expect(asked).toHaveLength(1)
  })

  it('when one is refused, then it is the error that it was, with its facts', async () => {
    const lines = [{ product_id: 1, requested: 3, available: 2 }]
    const { upstream } = await neighbour(() => results(done(1), refused('insufficient_stock', { lines })))
    const send = createBatchedCalls(upstream, TOGETHER)
    const [, second] = await Promise.allSettled([1, 2].map((id) => send(callFor(id), { thing: id })))
    expect(second).toMatchObject({
      reason: { code: 'insufficient_stock', message: 'Detail of insufficient_stock.', extra: { lines } },
    })
  })

  it.each([429, 502, 503, 504])(
    'when one of them meets a %d, then it alone is tried again, with the same key',
    async (code) => {
      const { upstream, asked } = await neighbour(() => results(done(1), failing(code), done(3)), doAll)
      const outcomes = await outcomesOf(
        upstream,
        [1, 2, 3].map((id) => callFor(id)),
      )
      expect(outcomes).toEqual([reply(1), reply(2), reply(3)])
      expect(carried(asked)).toEqual([3, '/things/2'])
      expect(asked[1]?.headers.get('idempotency-key')).toBe('key-2')
      expect(asked[1]?.body).toBe('{"thing":2}')
    },
  )

  it('when one of them meets a fault that does not pass, then its calls end with its attempts', async () => {
    const { upstream, asked } = await neighbour(() => results(done(1), failing(503)), status(503))
    expect(await outcomesOf(upstream, [callFor(1), callFor(2)])).toEqual([reply(1), 'unavailable'])
    expect(carried(asked)).toEqual([2, '/things/2', '/things/2'])
  })

  it('when the one request meets a passing fault, then all are tried again, and each is done', async () => {
    for (const fault of [status(503), status(429), problem('overloaded', { retry_after: 1 })]) {
      const { upstream } = await neighbour(fault, doAll)
      expect(await outcomesOf(upstream, [callFor(1), callFor(2), callFor(3)])).toEqual([reply(1), reply(2), reply(3)])
    }
  })

  it('when the answer of the one request does not come in time, then all are tried again', async () => {
    const { upstream } = await neighbour(never, doAll)
    const impatient = { ...upstream, timeoutMs: 300, attempts: 10 }
    expect(await outcomesOf(impatient, [callFor(1), callFor(2)])).toEqual([reply(1), reply(2)])
  })

  it.each<[string, (asked: Asked) => Response | Promise<Response>, ErrorCode]>([
    ['a 500', status(500), 'upstream_failed'],
    ['a 503', status(503), 'unavailable'],
    ['that it is overloaded', problem('overloaded'), 'overloaded'],
    ['that our token is wrong', problem('invalid_token'), 'upstream_failed'],
    [
      'a redirect',
      () => new Response(null, { status: 302, headers: { location: 'https://a.example' } }),
      'upstream_failed',
    ],
    ['nothing, ever', never, 'deadline_exceeded'],
    ['a page', () => new Response('<h1>Welcome</h1>'), 'upstream_failed'],
    ['null', () => Response.json(null), 'upstream_failed'],
    ['something else', () => Response.json({ id: 1 }), 'upstream_failed'],
    ['too few results', () => results(done(1)), 'upstream_failed'],
    ['too many results', () => results(done(1), done(2), done(3)), 'upstream_failed'],
    ['a result that is none', () => results(done(1), 'done'), 'upstream_failed'],
    ['a result without a status', () => results(done(1), { body: { id: 2 } }), 'upstream_failed'],
  ])('when the one request is answered %s, then each caller meets that', async (_, response, code) => {
    const { upstream, asked } = await neighbour(response)
    const once = { ...upstream, attempts: 1, timeoutMs: code === 'deadline_exceeded' ? 50 : 20_000 }
    expect(await outcomesOf(once, [callFor(1), callFor(2)])).toEqual([code, code])
    expect(asked).toHaveLength(1)
  })

  it('when nobody listens, then each caller meets unavailable', async () => {
    const { upstream } = await neighbour(ok)
    const dead = { ...upstream, base: await nowhere(), attempts: 2 }
    expect(await outcomesOf(dead, [callFor(1), callFor(2)])).toEqual(['unavailable', 'unavailable'])
  })

  it('when the answer makes no sense, then nothing is asked for again', async () => {
    const { upstream, asked } = await neighbour(() => results(done(1)), doAll)
    expect(await outcomesOf(upstream, [callFor(1), callFor(2)])).toEqual(['upstream_failed', 'upstream_failed'])
    expect(asked).toHaveLength(1)
  })

  /** As a service answers that has no such route, or takes its last part for an id. */
  it.each<ErrorCode>(['route_not_found', 'method_not_allowed'])(
    'when a neighbour of an older version answers %s to the one request, then each call goes its own way',
    async (code) => {
      const older = (asked: Asked) => (asked.path === TOGETHER ? problem(code)() : doAll(asked))
      const { upstream, asked } = await neighbour(older)
      expect(await outcomesOf(upstream, [callFor(1), callFor(2), callFor(3)])).toEqual([reply(1), reply(2), reply(3)])
      expect(carried(asked)).toEqual([3, '/things/1', '/things/2', '/things/3'])
      expect(asked.slice(1).map(({ headers }) => headers.get('idempotency-key'))).toEqual(['key-1', 'key-2', 'key-3'])
    },
  )

  it('when a caller gives up, then its own wait ends, and nobody else’s', async () => {
    const gate = Promise.withResolvers<void>()
    const { upstream, asked } = await neighbour(async (request) => {
      await gate.promise
      return doAll(request)
    })
    const controller = new AbortController()
    const send = createBatchedCalls(upstream, TOGETHER)
    const impatient = send(callFor(1, { signal: controller.signal }), { thing: 1 })
    const patient = [2, 3].map((id) => send(callFor(id, { signal: new AbortController().signal }), { thing: id }))
    await expect.poll(() => asked).toHaveLength(1)
    controller.abort()
    await expect(impatient).rejects.toMatchObject({ code: 'deadline_exceeded' })
    gate.resolve()
    expect(await Promise.all(patient)).toEqual([reply(2), reply(3)])
    expect(asked).toHaveLength(1)
  })

  it('when a caller gives up while its call is to be tried again, then no further call is made', async () => {
    const controller = new AbortController()
    const { upstream, asked } = await neighbour(() => {
      controller.abort()
      return results(failing(503), done(2))
    })
    const calls = [callFor(1, { signal: controller.signal }), callFor(2)]
    expect(await outcomesOf(upstream, calls)).toEqual(['deadline_exceeded', reply(2)])
    expect(asked).toHaveLength(1)
  })

  it('when more come than one request may carry, then several carry them, and one that is left over goes alone', async () => {
    const { upstream, asked } = await neighbour(doAll)
    const ids = Array.from({ length: 2 * MAX_BATCHED_CALLS + 1 }, (_, i) => i + 1)
    const outcomes = await outcomesOf(
      upstream,
      ids.map((id) => callFor(id)),
    )
    expect(outcomes).toEqual(ids.map((id) => reply(id)))
    const last = `/things/${ids.length}`
    expect(carried(asked).sort()).toEqual([last, MAX_BATCHED_CALLS, MAX_BATCHED_CALLS].sort())
  })
})
