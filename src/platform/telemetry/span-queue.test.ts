import { SpanKind } from '@opentelemetry/api'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { expect, it } from 'vitest'
import type { EndedSpan } from './recorded-spans.ts'
import { createSpanQueue, type Exporter } from './span-queue.ts'

const SPAN: EndedSpan = {
  service: 'tests',
  name: 'GET /things',
  kind: SpanKind.SERVER,
  context: { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 },
  parent: undefined,
  links: [],
  attributes: { 'http.route': '/things' },
  error: undefined,
  startMs: 1_700_000_000_123.25,
  endMs: 1_700_000_000_124.5,
}
const SUCCESS = { code: 0 }
const FAILURE = { code: 1, error: new Error('away') }

type Export = Parameters<Exporter['export']>

/** A queue whose collector answers when the test says so. */
function queueWith() {
  const requests: { spans: Export[0]; answer: Export[1] }[] = []
  const lost: number[] = []
  const exporter: Exporter = { export: (spans, answer) => void requests.push({ spans, answer }) }
  const queue = createSpanQueue(
    exporter,
    (name) => resourceFromAttributes({ name }),
    (spans) => void lost.push(spans),
  )
  const add = (count: number) => {
    for (let i = 0; i < count; i++) queue.add(SPAN)
  }
  return { queue, add, requests, lost: () => lost.reduce((sum, spans) => sum + spans, 0) }
}

it('when the collector does not answer, then one request is under way, 2,048 spans wait, the rest is lost', () => {
  const { add, requests, queue, lost } = queueWith()
  add(3_000)
  expect(requests.map(({ spans }) => spans.length)).toEqual([256])
  expect(queue.size()).toBe(256 + 2_048)
  expect(lost()).toBe(3_000 - 256 - 2_048)
})

it('when the collector refuses, then its spans are lost, and it counts as away until it takes some', async () => {
  const { add, requests, queue, lost } = queueWith()
  add(3)
  const flushed = queue.flush()
  requests[0]?.answer(FAILURE)
  await flushed
  expect({ lost: lost(), size: queue.size(), isAway: queue.isAway() }).toEqual({ lost: 3, size: 0, isAway: true })
  add(1)
  const again = queue.flush()
  requests[1]?.answer(SUCCESS)
  await again
  expect({ lost: lost(), isAway: queue.isAway() }).toEqual({ lost: 3, isAway: false })
})

it('when all are flushed, then as many requests as they need are sent at once', async () => {
  const { add, requests, queue } = queueWith()
  add(600)
  const flushed = queue.flush()
  for (const { answer } of requests) answer(SUCCESS)
  await flushed
  expect(requests.map(({ spans }) => spans.length)).toEqual([256, 256, 88])
})

it('when a span is sent, then its times are seconds and nanoseconds, and a failure is its status', () => {
  const { queue, requests } = queueWith()
  queue.add({ ...SPAN, error: 'unavailable' })
  queue.flush()
  expect(requests[0]?.spans[0]).toMatchObject({
    startTime: [1_700_000_000, 123_250_000],
    endTime: [1_700_000_000, 124_500_000],
    status: { code: 2 },
    attributes: { 'http.route': '/things', 'error.type': 'unavailable' },
  })
})
