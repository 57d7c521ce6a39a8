import { describe, expect, it } from 'vitest'
import { recordedTracer } from '../../../testing/recorded-tracer.ts'
import { TRACEPARENT } from './trace.ts'

const CALLER = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }
const SAMPLED = `00-${CALLER.traceId}-${CALLER.spanId}-01`
const NOT_SAMPLED = `00-${CALLER.traceId}-${CALLER.spanId}-00`

describe('a span with a caller', () => {
  it('when the caller is recorded, then it is its child, whatever the chance', () => {
    const { tracer, ended } = recordedTracer(0)
    const span = tracer.start('GET', SAMPLED, { kind: 'server' })
    span.rename('GET /things')
    span.end()
    expect(span.traceparent).toMatch(new RegExp(`^00-${CALLER.traceId}-[\\da-f]{16}-01$`))
    expect(span.traceparent).not.toBe(SAMPLED)
    expect(ended()).toMatchObject([{ name: 'GET /things', parent: { spanId: CALLER.spanId } }])
  })

  it('when the caller is not recorded, then its context is passed on unchanged', () => {
    const { tracer, ended } = recordedTracer(1)
    const span = tracer.start('GET', NOT_SAMPLED)
    const child = span.startChild('below')
    for (const each of [child, span]) {
      expect(each).toMatchObject({ traceparent: NOT_SAMPLED, isRecorded: false })
      each.end()
    }
    expect(ended()).toEqual([])
  })

  it.each([
    ['no trace', `00-${'0'.repeat(32)}-${CALLER.spanId}-01`],
    ['no span', `00-${CALLER.traceId}-${'0'.repeat(16)}-01`],
    ['the forbidden version', `ff-${CALLER.traceId}-${CALLER.spanId}-01`],
  ])('when the traceparent names %s, then a trace begins', (_, traceparent) => {
    const { tracer } = recordedTracer(1)
    const span = tracer.start('GET', traceparent)
    expect(span.isRecorded).toBe(true)
    expect(span.traceparent).not.toContain(CALLER.traceId)
  })

  it('when the traceparent is of a later version, then it is its child', () => {
    const { tracer } = recordedTracer(0)
    expect(tracer.start('GET', SAMPLED.replace('00-', 'cc-')).traceparent).toMatch(`00-${CALLER.traceId}-`)
  })
})

describe('a span without a caller', () => {
  it.each([0, 1])('when the chance is %d, then that decides, and those who are called are told', (ratio) => {
    const { tracer, ended } = recordedTracer(ratio)
    const span = tracer.start('GET', undefined)
    span.end()
    expect(span.isRecorded).toBe(ratio === 1)
    expect(span.traceparent).toMatch(TRACEPARENT)
    expect(span.traceparent.endsWith(`-0${ratio}`)).toBe(true)
    expect(ended()).toHaveLength(ratio)
  })

  it('when it fails, then it has the code of the failure', () => {
    const { tracer, ended } = recordedTracer(1)
    tracer.start('GET', undefined).end('unavailable')
    expect(ended()).toMatchObject([{ error: 'unavailable' }])
  })
})

describe('a span that is linked to others', () => {
  it('when one of them is recorded, then it is too, in a trace of its own, and names that one alone', () => {
    const { tracer, ended } = recordedTracer(0)
    const span = tracer.startLinked('batch', [NOT_SAMPLED.replace('b7', 'c7'), SAMPLED, undefined])
    span.end()
    expect(span.traceparent).not.toContain(CALLER.traceId)
    const [batch] = ended()
    expect(batch?.parent).toBeUndefined()
    expect(batch?.links.map(({ context }) => context)).toMatchObject([CALLER])
  })

  it('when none of them is recorded, then it is not either, and names none', () => {
    const { tracer, ended } = recordedTracer(1)
    const span = tracer.startLinked('batch', [NOT_SAMPLED, undefined])
    span.end()
    expect(span.isRecorded).toBe(false)
    expect(span.traceparent).toMatch(/-00$/)
    expect(span.traceparent).not.toContain(CALLER.traceId)
    expect(ended()).toEqual([])
  })

  it('when a link is added later, then only to a recorded span', () => {
    const { tracer, ended } = recordedTracer(0)
    const span = tracer.start('command', SAMPLED)
    span.link(tracer.start('other', NOT_SAMPLED))
    const batch = tracer.startLinked('batch', [SAMPLED])
    span.link(batch)
    span.end()
    const [, , batchSpanId] = batch.traceparent.split('-')
    expect(ended()[0]?.links.map(({ context }) => context.spanId)).toEqual([batchSpanId])
  })
})
