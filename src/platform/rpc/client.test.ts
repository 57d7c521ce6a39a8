import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { nowhere } from '../../../testing/services.ts'
import { AppError, defineErrors, PLATFORM_ERRORS } from '../core/errors.ts'
import { problemDocument } from '../http/problem-document.ts'
import { serve } from '../http/server.ts'
import { NO_TELEMETRY } from '../telemetry/telemetry.ts'
import { MAX_BATCHED_CALLS } from './batch-contract.ts'
import { type Call, callService, createBatchedCalls, type Upstream } from './client.ts'

const UNWATCHED = { name: 'things', telemetry: NO_TELEMETRY }
const Widget = z.object({ id: z.int() })
const WIDGET_ERRORS = defineErrors({
  widget_taken: { status: 409, title: 'The widget is taken' },
  widget_not_found: { status: 422, title: 'The widget does not exist' },
  not_your_widget: { status: 403, title: 'The widget is not yours' },
})
const ERRORS = { ...PLATFORM_ERRORS, ...WIDGET_ERRORS }
type ErrorCode = keyof typeof ERRORS
const GET: Call<typeof Widget> = {
  method: 'GET',
  path: '/things/1',
  trace: { correlationId: 'req-1', traceparent: undefined },
  responseSchema: Widget,
  refusals: Object.values(WIDGET_ERRORS),
}
const POST: Call<typeof Widget> = { ...GET, method: 'POST', path: '/things', body: { a: 1 }, idempotencyKey: 'key-1' }

const ok = () => Response.json({ id: 1 })
const status = (code: number) => () => new Response('<h1>Sorry</h1>', { status: code })
const never = () => new Promise<Response>(() => {})

function problem(code: ErrorCode, extra = {}, status?: number) {
  const document = problemDocument(new AppError(ERRORS[code], `Detail of ${code}.`, extra), 'req-1')
  return () => Response.json(document, { status: status ?? document.status })
}

interface SeenRequest {
  method: string
  path: string
  headers: Headers
  body: string
}

/** A real upstream that gives these responses in turn, repeats the last one, and records its requests. */
async function startUpstream(...responses: ((request: SeenRequest) => Response | Promise<Response>)[]) {
  const requests: SeenRequest[] = []
  const handle = async (request: Request) => {
    const { pathname } = new URL(request.url)
    const one = { method: request.method, path: pathname, headers: request.headers, body: await request.text() }
    requests.push(one)
    return (responses[requests.length - 1] ?? responses.at(-1) ?? ok)(one)
  }
  const serving = await serve({ fetch: handle }, 0)
  onTestFinished(() => serving.close())
  const upstream: Upstream = {
    ...UNWATCHED,
    base: `http://127.0.0.1:${serving.port}`,
    fetch,
    token: 'service-token',
    timeoutMs: 20_000,
    attempts: 3,
  }
  return { upstream, requests }
}

/** The error of a refused call. */
async function refusal(upstream: Upstream, call = GET): Promise<AppError> {
  const error = await callService(upstream, call).catch((thrown: unknown) => thrown)
  if (error instanceof AppError) return error
  throw new Error('the call was not refused')
}

describe('a call', () => {
  it('when the response arrives, then it has the declared shape', async () => {
    const { upstream } = await startUpstream(() => Response.json({ id: 1, more: true }))
    expect(await callService(upstream, GET)).toEqual({ value: { id: 1 }, replayed: false })
  })

  it('when the response is a stored one, then the result says so', async () => {
    const { upstream } = await startUpstream(() =>
      Response.json({ id: 1 }, { headers: { 'idempotent-replayed': 'true' } }),
    )
    expect((await callService(upstream, POST)).replayed).toBe(true)
  })

  it('when it has a body, a key and a trace, then all are sent', async () => {
    const { upstream, requests } = await startUpstream(ok)
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await callService(upstream, { ...POST, trace: { correlationId: 'req-2', traceparent } })
    expect(requests).toMatchObject([{ method: 'POST', path: '/things', body: '{"a":1}' }])
    expect(Object.fromEntries(requests[0]?.headers ?? [])).toMatchObject({
      authorization: 'Bearer service-token',
      accept: 'application/json',
      'content-type': 'application/json',
      'idempotency-key': 'key-1',
      'x-correlation-id': 'req-2',
      traceparent,
    })
  })

  it('when it has none of them, then no such headers are sent', async () => {
    const { upstream, requests } = await startUpstream(ok)
    await callService(upstream, GET)
    const names = [...(requests[0]?.headers.keys() ?? [])]
    for (const name of ['content-type', 'idempotency-key', 'traceparent']) expect(names).not.toContain(name)
    expect(requests[0]?.headers.get('x-correlation-id')).toBe('req-1')
  })
})

describe('an address', () => {
  /** The request that a call sends to this address. */
  async function requestTo(base: string): Promise<Request> {
    const requests: Request[] = []
    const send = (url: string, init: RequestInit) => {
      requests.push(new Request(url, init))
      return ok()
    }
    await callService({ ...UNWATCHED, base, fetch: send, token: 't', timeoutMs: 20_000, attempts: 1 }, GET)
    const [request] = requests
    if (request === undefined) throw new Error('no request was sent')
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

describe('a transient failure', () => {
  it.each([429, 502, 503, 504])('when it is a %d, then the call is retried with the same key', async (code) => {
    const { upstream, requests } = await startUpstream(status(code), ok)
    expect((await callService(upstream, POST)).value).toEqual({ id: 1 })
    expect(requests.map(({ body, headers }) => [body, headers.get('idempotency-key')])).toEqual([
      ['{"a":1}', 'key-1'],
      ['{"a":1}', 'key-1'],
    ])
  })

  it('when nobody listens, then the call is retried, and at last unavailable', async () => {
    const { upstream, requests } = await startUpstream(ok)
    const dead = await nowhere()
    let calls = 0
    const deadTwice = (url: string, init: RequestInit) => fetch(++calls <= 2 ? dead : url, init)
    expect((await callService({ ...upstream, fetch: deadTwice }, GET)).value).toEqual({ id: 1 })
    expect(requests).toHaveLength(1)
    expect((await refusal({ ...upstream, base: dead, attempts: 2 })).code).toBe('unavailable')
  })

  it('when the response times out, then the call is retried', async () => {
    const { upstream, requests } = await startUpstream(never, ok)
    expect((await callService({ ...upstream, timeoutMs: 200, attempts: 10 }, GET)).value).toEqual({ id: 1 })
    expect(requests.length).toBeGreaterThan(1)
  })

  it('when it persists, then the calls end with the last attempt', async () => {
    const { upstream, requests } = await startUpstream(status(503))
    expect((await refusal(upstream)).code).toBe('unavailable')
    expect(requests).toHaveLength(3)
  })

  it('when it has retry_after, then the call waits that long', async () => {
    const { upstream, requests } = await startUpstream(problem('overloaded', { retry_after: 1 }), ok)
    const began = performance.now()
    expect((await callService(upstream, POST)).value).toEqual({ id: 1 })
    expect(performance.now() - began).toBeGreaterThanOrEqual(1_000)
    expect(requests).toHaveLength(2)
  })

  it.each([429, 503])('when a %d has a retry_after beyond the call’s time, then it fails at once', async (code) => {
    const { upstream, requests } = await startUpstream(
      () => new Response('', { status: code, headers: { 'retry-after': '60' } }),
    )
    const { code: refused, extra } = await refusal({ ...upstream, timeoutMs: 5_000 })
    expect({ refused, extra }).toEqual({ refused: 'unavailable', extra: { retry_after: 60 } })
    expect(requests).toHaveLength(1)
  })

  it.each([400, 401, 403, 404, 405, 409, 422, 500, 501])('when it is a %d, then it is not retried', async (code) => {
    const { upstream, requests } = await startUpstream(status(code), ok)
    expect((await refusal(upstream)).code).toBe('upstream_failed')
    expect(requests).toHaveLength(1)
  })

  it('when the caller gives up meanwhile, then it is not retried', async () => {
    const controller = new AbortController()
    const giveUp = () => {
      controller.abort()
      return status(503)()
    }
    const { upstream, requests } = await startUpstream(status(503), giveUp, ok)
    const error = await refusal({ ...upstream, attempts: 100 }, { ...GET, signal: controller.signal })
    expect(error.code).toBe('deadline_exceeded')
    expect(requests).toHaveLength(2)
  })

  it('when the caller gave up before, then no call is made', async () => {
    const { upstream, requests } = await startUpstream(ok)
    expect((await refusal(upstream, { ...GET, signal: AbortSignal.abort() })).code).toBe('deadline_exceeded')
    expect(requests).toHaveLength(0)
  })
})

describe('the time limit of a call', () => {
  const impatient = { timeoutMs: 50, attempts: 1 }

  it('when the response does not begin in time, then deadline_exceeded', async () => {
    const { upstream } = await startUpstream(never)
    expect((await refusal({ ...upstream, ...impatient })).code).toBe('deadline_exceeded')
  })

  it('when the response begins but does not end in time, then deadline_exceeded', async () => {
    const halting = () => new Response(new ReadableStream({ start: (controller) => controller.enqueue('{"id":') }))
    const { upstream } = await startUpstream(halting)
    expect((await refusal({ ...upstream, ...impatient })).code).toBe('deadline_exceeded')
  })

  it('when an in-process upstream ignores the signal, then the limit still applies', async () => {
    const upstream: Upstream = { ...UNWATCHED, base: 'http://orders.internal', fetch: never, token: 't', ...impatient }
    expect((await refusal(upstream)).code).toBe('deadline_exceeded')
  })
})

describe('a response', () => {
  it.each([
    ['a page', () => new Response('<h1>Welcome</h1>', { headers: { 'content-type': 'text/html' } })],
    ['empty', () => new Response(null, { status: 204 })],
    ['of another shape', () => Response.json({ id: '1' })],
    ['null', () => Response.json(null)],
    ['a redirect', () => new Response(null, { status: 302, headers: { location: 'https://elsewhere.example' } })],
  ])('when it is %s, then upstream_failed, without a retry', async (_, response) => {
    const { upstream, requests } = await startUpstream(response, ok)
    expect((await refusal(upstream)).code).toBe('upstream_failed')
    expect(requests).toHaveLength(1)
  })

  it('when it is a problem document, then it is the same error with the same facts', async () => {
    const lines = [{ product_id: 1, requested: 3, available: 2 }]
    const { upstream } = await startUpstream(problem('widget_taken', { lines }))
    expect(await refusal(upstream)).toMatchObject({
      code: 'widget_taken',
      message: 'Detail of widget_taken.',
      extra: { lines },
    })
  })

  it.each<[ErrorCode, ErrorCode]>([
    ['widget_not_found', 'widget_not_found'],
    ['validation_failed', 'validation_failed'],
    ['idempotency_key_reused', 'idempotency_key_reused'],
    ['overloaded', 'overloaded'],
    ['upstream_failed', 'upstream_failed'],
    ['deadline_exceeded', 'deadline_exceeded'],
    ['rate_limited', 'unavailable'],
  ])('when it is the problem %s, then the caller gets %s', async (theirs, ours) => {
    const { upstream } = await startUpstream(problem(theirs))
    expect((await refusal({ ...upstream, attempts: 1 })).code).toBe(ours)
  })

  it.each<ErrorCode>([
    'unauthorized',
    'invalid_token',
    'insufficient_scope',
    'not_your_widget',
    'route_not_found',
    'method_not_allowed',
    'internal_error',
  ])('when it is the problem %s, which no caller can fix, then upstream_failed', async (code) => {
    const { upstream } = await startUpstream(problem(code))
    expect((await refusal(upstream)).code).toBe('upstream_failed')
  })

  it('when it is a contradictory or unknown problem, then upstream_failed', async () => {
    const unknown = (code: unknown) => () => Response.json({ code, detail: 'Something.', status: 409 }, { status: 409 })
    const responses = [problem('widget_taken', {}, 404), unknown('no_such_code'), unknown('toString'), unknown(7)]
    for (const response of responses) {
      const { upstream } = await startUpstream(response)
      expect((await refusal(upstream)).code).toBe('upstream_failed')
    }
  })

  it('when it is a problem of another domain than those that the call names, then upstream_failed', async () => {
    const { upstream } = await startUpstream(problem('widget_taken'))
    expect((await refusal(upstream, { ...GET, refusals: [WIDGET_ERRORS.widget_not_found] })).code).toBe(
      'upstream_failed',
    )
  })

  it.each([
    ['unavailable', problem('unavailable')],
    ['overloaded', problem('overloaded')],
    ['rate limited', problem('rate_limited')],
    ['503', status(503)],
    ['504', status(504)],
    ['502', status(502)],
    ['401', problem('invalid_token')],
  ])('when it is %s, then the logged cause names the upstream and its status', async (_, response) => {
    const { upstream } = await startUpstream(response)
    const { cause } = await refusal({ ...upstream, attempts: 1 })
    expect(cause).toMatch(new RegExp(`^${upstream.base} answered (401|429|502|503|504)`))
  })

  it('when there is none, then the cause names the silent upstream', async () => {
    const silent = await startUpstream(never)
    const late = await refusal({ ...silent.upstream, timeoutMs: 50, attempts: 1 })
    expect(late.cause).toMatchObject({ message: `${silent.upstream.base} did not answer in time` })
    const base = await nowhere()
    const away = await refusal({ ...silent.upstream, base, attempts: 1 })
    expect(away.cause).toMatchObject({ message: `${base} cannot be reached`, cause: expect.any(Error) })
  })

  it('when the upstream failed, then its reasons stay between the services', async () => {
    for (const response of [problem('internal_error'), problem('unavailable'), status(500), status(504)]) {
      const { upstream } = await startUpstream(response)
      const error = await refusal({ ...upstream, attempts: 1 })
      expect(error.message).not.toMatch(/Detail|Sorry/)
      expect(error.extra).toEqual({})
    }
  })
})

describe('calls that can share a request', () => {
  const TOGETHER = '/internal/things/together'

  /** A call for this id, with its own key and trace. */
  function callFor(id: number, change: Partial<Call<typeof Widget>> = {}): Call<typeof Widget> {
    const trace = { correlationId: `req-${id}`, traceparent: undefined }
    return { ...POST, path: `/things/${id}`, body: { thing: id }, idempotencyKey: `key-${id}`, trace, ...change }
  }

  /** Makes all calls at one moment. @returns what each caller gets: the result, or the code of its error */
  async function outcomesOf(upstream: Upstream, calls: Call<typeof Widget>[]): Promise<unknown[]> {
    const send = createBatchedCalls(upstream, TOGETHER)
    const settled = await Promise.allSettled(calls.map((call) => send(call, { thing: call.path.slice(8) })))
    return settled.map((one) => (one.status === 'fulfilled' ? one.value : one.reason.code))
  }

  const reply = (id: number, replayed = false) => ({ value: { id }, replayed })
  const done = (id: number) => ({ status: 201, replayed: false, body: { id } })
  const refused = (code: ErrorCode, extra = {}) => {
    const body = problemDocument(new AppError(ERRORS[code], `Detail of ${code}.`, extra), 'req-1')
    return { status: body.status, replayed: false, body }
  }
  const failing = (status: number) => ({ status, replayed: false, body: null })
  const results = (...some: unknown[]) => Response.json({ results: some })

  /** Serves every request, single or batched. */
  function doAll({ path, body }: SeenRequest): Response {
    if (path !== TOGETHER) return Response.json({ id: Number(path.slice(8)) }, { status: 201 })
    return results(...idsIn(body).map(done))
  }

  function idsIn(body: string): number[] {
    return JSON.parse(body).calls.map(({ thing }: { thing: string }) => Number(thing))
  }

  /** The number of calls in each request, or the path of a single one. */
  function carried(requests: SeenRequest[]): (number | string)[] {
    return requests.map(({ path, body }) => (path === TOGETHER ? idsIn(body).length : path))
  }

  it('when a call is alone, then it goes as a single request', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const lone = [callFor(1, { trace: { correlationId: 'req-1', traceparent } }), GET]
    const { upstream, requests } = await startUpstream(ok)
    for (const call of lone) {
      await callService(upstream, call)
      expect(await outcomesOf(upstream, [call])).toEqual([reply(1)])
    }
    const seen = requests.map(({ headers, ...rest }) => ({ ...rest, headers: Object.fromEntries(headers) }))
    expect(seen[1]).toEqual(seen[0])
    expect(seen[3]).toEqual(seen[2])
    expect(seen.map(({ path }) => path)).toEqual(['/things/1', '/things/1', '/things/1', '/things/1'])
  })

  it('when calls come one after the other, then each is a single request', async () => {
    const { upstream, requests } = await startUpstream(doAll)
    const send = createBatchedCalls(upstream, TOGETHER)
    for (const id of [1, 2]) expect(await send(callFor(id), { thing: id })).toEqual(reply(id))
    expect(carried(requests)).toEqual(['/things/1', '/things/2'])
  })

  it('when several come at one moment, then one request carries them with their traces', async () => {
    const { upstream, requests } = await startUpstream(doAll)
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const traced = callFor(2, { trace: { correlationId: 'flow:2', traceparent } })
    expect(await outcomesOf(upstream, [callFor(1), traced, callFor(3)])).toEqual([reply(1), reply(2), reply(3)])
    expect(requests).toMatchObject([{ method: 'POST', path: TOGETHER }])
    expect(JSON.parse(requests[0]?.body ?? '')).toEqual({
      calls: [
        { thing: '1', correlation_id: 'req-1' },
        { thing: '2', correlation_id: 'flow:2', traceparent },
        { thing: '3', correlation_id: 'req-3' },
      ],
    })
  })

  it('when several share a request, then it has our token and no header of any call', async () => {
    const { upstream, requests } = await startUpstream(doAll)
    await outcomesOf(upstream, [callFor(1), callFor(2)])
    const { headers } = requests[0] ?? { headers: new Headers() }
    expect(headers.get('authorization')).toBe('Bearer service-token')
    expect(headers.get('content-type')).toBe('application/json')
    for (const name of ['idempotency-key', 'x-correlation-id', 'traceparent']) expect(headers.get(name)).toBeNull()
  })

  it('when the address has a base path, then the shared request keeps it', async () => {
    const { upstream, requests } = await startUpstream(({ body }) => results(...idsIn(body).map(done)))
    await outcomesOf({ ...upstream, base: `${upstream.base}/dev/` }, [callFor(1), callFor(2)])
    expect(requests.map(({ path }) => path)).toEqual([`/dev${TOGETHER}`])
  })

  it('when results differ in kind, then each caller gets its own', async () => {
    const { upstream, requests } = await startUpstream(() =>
      results(
        done(1),
        { ...done(2), replayed: true },
        refused('widget_taken'),
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
    ).toEqual([reply(1), reply(2, true), 'widget_taken', 'upstream_failed', 'not_found', 'upstream_failed', reply(7)])
    expect(requests).toHaveLength(1)
  })

  it('when one is refused, then it is the same error with the same facts', async () => {
    const lines = [{ product_id: 1, requested: 3, available: 2 }]
    const { upstream } = await startUpstream(() => results(done(1), refused('widget_taken', { lines })))
    const send = createBatchedCalls(upstream, TOGETHER)
    const [, second] = await Promise.allSettled([1, 2].map((id) => send(callFor(id), { thing: id })))
    expect(second).toMatchObject({
      reason: { code: 'widget_taken', message: 'Detail of widget_taken.', extra: { lines } },
    })
  })

  it.each([429, 502, 503, 504])(
    'when one of them meets a %d, then it alone is retried, with the same key',
    async (code) => {
      const { upstream, requests } = await startUpstream(() => results(done(1), failing(code), done(3)), doAll)
      const outcomes = await outcomesOf(
        upstream,
        [1, 2, 3].map((id) => callFor(id)),
      )
      expect(outcomes).toEqual([reply(1), reply(2), reply(3)])
      expect(carried(requests)).toEqual([3, '/things/2'])
      expect(requests[1]?.headers.get('idempotency-key')).toBe('key-2')
      expect(requests[1]?.body).toBe('{"thing":2}')
    },
  )

  it('when one of them meets a lasting fault, then its retries end with its attempts', async () => {
    const { upstream, requests } = await startUpstream(() => results(done(1), failing(503)), status(503))
    expect(await outcomesOf(upstream, [callFor(1), callFor(2)])).toEqual([reply(1), 'unavailable'])
    expect(carried(requests)).toEqual([2, '/things/2', '/things/2'])
  })

  it('when the shared request meets a transient fault, then all are retried and done', async () => {
    for (const fault of [status(503), status(429), problem('overloaded', { retry_after: 1 })]) {
      const { upstream } = await startUpstream(fault, doAll)
      expect(await outcomesOf(upstream, [callFor(1), callFor(2), callFor(3)])).toEqual([reply(1), reply(2), reply(3)])
    }
  })

  it('when the shared request times out, then all are retried', async () => {
    const { upstream } = await startUpstream(never, doAll)
    const impatient = { ...upstream, timeoutMs: 300, attempts: 10 }
    expect(await outcomesOf(impatient, [callFor(1), callFor(2)])).toEqual([reply(1), reply(2)])
  })

  it.each<[string, (request: SeenRequest) => Response | Promise<Response>, ErrorCode]>([
    ['a 500', status(500), 'upstream_failed'],
    ['a 503', status(503), 'unavailable'],
    ['the problem overloaded', problem('overloaded'), 'overloaded'],
    ['the problem invalid_token', problem('invalid_token'), 'upstream_failed'],
    [
      'a redirect',
      () => new Response(null, { status: 302, headers: { location: 'https://a.example' } }),
      'upstream_failed',
    ],
    ['no response', never, 'deadline_exceeded'],
    ['a page', () => new Response('<h1>Welcome</h1>'), 'upstream_failed'],
    ['null', () => Response.json(null), 'upstream_failed'],
    ['another shape', () => Response.json({ id: 1 }), 'upstream_failed'],
    ['too few results', () => results(done(1)), 'upstream_failed'],
    ['too many results', () => results(done(1), done(2), done(3)), 'upstream_failed'],
    ['a malformed result', () => results(done(1), 'done'), 'upstream_failed'],
    ['a result without a status', () => results(done(1), { body: { id: 2 } }), 'upstream_failed'],
  ])('when the shared request gets %s, then each caller gets that error', async (_, response, code) => {
    const { upstream, requests } = await startUpstream(response)
    const once = { ...upstream, attempts: 1, timeoutMs: code === 'deadline_exceeded' ? 50 : 20_000 }
    expect(await outcomesOf(once, [callFor(1), callFor(2)])).toEqual([code, code])
    expect(requests).toHaveLength(1)
  })

  it('when nobody listens, then each caller gets unavailable', async () => {
    const { upstream } = await startUpstream(ok)
    const dead = { ...upstream, base: await nowhere(), attempts: 2 }
    expect(await outcomesOf(dead, [callFor(1), callFor(2)])).toEqual(['unavailable', 'unavailable'])
  })

  it('when the response makes no sense, then nothing is retried', async () => {
    const { upstream, requests } = await startUpstream(() => results(done(1)), doAll)
    expect(await outcomesOf(upstream, [callFor(1), callFor(2)])).toEqual(['upstream_failed', 'upstream_failed'])
    expect(requests).toHaveLength(1)
  })

  /** An older version lacks the route, or takes its last segment for an id. */
  it.each<ErrorCode>(['route_not_found', 'method_not_allowed'])(
    'when an older upstream responds %s to a shared request, then each goes alone',
    async (code) => {
      const older = (request: SeenRequest) => (request.path === TOGETHER ? problem(code)() : doAll(request))
      const { upstream, requests } = await startUpstream(older)
      expect(await outcomesOf(upstream, [callFor(1), callFor(2), callFor(3)])).toEqual([reply(1), reply(2), reply(3)])
      expect(carried(requests)).toEqual([3, '/things/1', '/things/2', '/things/3'])
      expect(requests.slice(1).map(({ headers }) => headers.get('idempotency-key'))).toEqual([
        'key-1',
        'key-2',
        'key-3',
      ])
    },
  )

  it('when a caller gives up, then only its own wait ends', async () => {
    const gate = Promise.withResolvers<void>()
    const { upstream, requests } = await startUpstream(async (request) => {
      await gate.promise
      return doAll(request)
    })
    const controller = new AbortController()
    const send = createBatchedCalls(upstream, TOGETHER)
    const impatient = send(callFor(1, { signal: controller.signal }), { thing: 1 })
    const patient = [2, 3].map((id) => send(callFor(id, { signal: new AbortController().signal }), { thing: id }))
    await expect.poll(() => requests).toHaveLength(1)
    controller.abort()
    await expect(impatient).rejects.toMatchObject({ code: 'deadline_exceeded' })
    gate.resolve()
    expect(await Promise.all(patient)).toEqual([reply(2), reply(3)])
    expect(requests).toHaveLength(1)
  })

  it('when a caller gives up before a retry, then no further call is made', async () => {
    const controller = new AbortController()
    const { upstream, requests } = await startUpstream(() => {
      controller.abort()
      return results(failing(503), done(2))
    })
    const calls = [callFor(1, { signal: controller.signal }), callFor(2)]
    expect(await outcomesOf(upstream, calls)).toEqual(['deadline_exceeded', reply(2)])
    expect(requests).toHaveLength(1)
  })

  it('when more come than one request may carry, then several carry them', async () => {
    const { upstream, requests } = await startUpstream(doAll)
    const ids = Array.from({ length: 2 * MAX_BATCHED_CALLS + 1 }, (_, i) => i + 1)
    const outcomes = await outcomesOf(
      upstream,
      ids.map((id) => callFor(id)),
    )
    expect(outcomes).toEqual(ids.map((id) => reply(id)))
    const last = `/things/${ids.length}`
    expect(carried(requests).sort()).toEqual([last, MAX_BATCHED_CALLS, MAX_BATCHED_CALLS].sort())
  })
})
