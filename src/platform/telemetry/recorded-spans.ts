import { randomBytes } from 'node:crypto'
import { type Attributes, type SpanContext, SpanKind, TraceFlags } from '@opentelemetry/api'
import type { Span, SpanOptions, Tracer } from './spans.ts'

// Loaded only where traces are recorded, see open-tracing.ts.

/** A span that has ended. Times are in ms since 1970. */
export interface EndedSpan {
  service: string
  name: string
  kind: SpanKind
  context: SpanContext
  parent: SpanContext | undefined
  links: { context: SpanContext }[]
  attributes: Attributes
  error: string | undefined
  startMs: number
  endMs: number
}

/** Takes a span when it ends. */
export type RecordSpan = (span: EndedSpan) => void

/**
 * The context is always an argument: nothing here asks which span is active. A span is a plain object until it is sent:
 * requests wait for what is done here, and nobody waits for the sending.
 * @param ratio the share of traces without a caller that are recorded
 */
export function tracerOf(service: string, ratio: number, record: RecordSpan): Tracer {
  const begin = beginner(service, record)
  return {
    service,
    start(name, parent, options) {
      const caller = parent !== undefined && namesSpan(parent) ? parent : undefined
      if (caller !== undefined && !isSampled(caller)) return unrecorded(caller)
      if (caller === undefined && Math.random() >= ratio) return startUnrecorded()
      return begin(name, caller === undefined ? undefined : contextOf(caller), [], options)
    },
    startLinked(name, causes, options) {
      const links = causes.flatMap(linksTo)
      return links.length === 0 ? startUnrecorded() : begin(name, undefined, links, options)
    },
    startUnrecorded,
  }
}

function beginner(service: string, record: RecordSpan) {
  return function begin(
    name: string,
    parent: SpanContext | undefined,
    links: EndedSpan['links'],
    { kind = 'internal', attributes }: SpanOptions = {},
  ): Span {
    const context = newContext(parent?.traceId)
    const span = { service, name, kind: KINDS[kind], context, parent, links, attributes: { ...attributes } }
    const startMs = nowMs()
    return {
      traceparent: `00-${context.traceId}-${context.spanId}-01`,
      isRecorded: true,
      startChild: (childName, options) => begin(childName, context, [], options),
      link: (to) => void span.links.push(...linksTo(to.traceparent)),
      set: (more) => void Object.assign(span.attributes, more),
      rename(newName) {
        span.name = newName
      },
      end: (error) => record({ ...span, error, startMs, endMs: nowMs() }),
    }
  }
}

const ANCHORED_EVERY_MS = 60_000
let anchor = { at: Number.NEGATIVE_INFINITY, dateMs: 0 }

/** The date with the precision of `performance.now()`, which drifts from it in a long life. */
function nowMs(): number {
  const now = performance.now()
  if (now - anchor.at > ANCHORED_EVERY_MS) anchor = { at: now, dateMs: Date.now() }
  return anchor.dateMs + (now - anchor.at)
}

const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL }

function newContext(traceId = randomDigits(TRACE_DIGITS)): SpanContext {
  return { traceId, spanId: randomDigits(SPAN_DIGITS), traceFlags: TraceFlags.SAMPLED }
}

/** Passes a trace on that is not sampled. */
function unrecorded(traceparent: string): Span {
  return {
    traceparent,
    isRecorded: false,
    startChild: returnThis,
    link: ignore,
    set: ignore,
    rename: ignore,
    end: ignore,
  }
}

function returnThis(this: Span): Span {
  return this
}

function ignore() {}

function startUnrecorded(): Span {
  return unrecorded(`00-${randomDigits(TRACE_DIGITS)}-${randomDigits(SPAN_DIGITS)}-00`)
}

function linksTo(traceparent: string | undefined): { context: SpanContext }[] {
  const isLinked = traceparent !== undefined && namesSpan(traceparent) && isSampled(traceparent)
  return isLinked ? [{ context: contextOf(traceparent) }] : []
}

// The parts of a `traceparent`: version-trace-span-flags. TRACEPARENT holds its form.
const [TRACE_AT, SPAN_AT, LAST_AT] = [3, 36, 54]
const [TRACE_DIGITS, SPAN_DIGITS] = [32, 16]
const NO_VERSION = 'ff'
const NO_TRACE = '0'.repeat(TRACE_DIGITS)
const NO_SPAN = '0'.repeat(SPAN_DIGITS)
/** The last digits of flags with the bit `sampled`. */
const SAMPLED = new Set('13579bdf')

/** A `traceparent` that names none counts as absent, as W3C Trace Context asks for. */
function namesSpan(traceparent: string): boolean {
  return (
    !traceparent.startsWith(NO_TRACE, TRACE_AT) &&
    !traceparent.startsWith(NO_SPAN, SPAN_AT) &&
    !traceparent.startsWith(NO_VERSION)
  )
}

function isSampled(traceparent: string): boolean {
  return SAMPLED.has(traceparent.charAt(LAST_AT))
}

/** Of another process, or of this one: who reads a trace need not know. */
function contextOf(traceparent: string): SpanContext {
  const [, traceId = '', spanId = ''] = traceparent.split('-')
  return { traceId, spanId, traceFlags: isSampled(traceparent) ? TraceFlags.SAMPLED : TraceFlags.NONE, isRemote: true }
}

const POOLED_BYTES = 4_096
let pool = ''
let used = 0

/** Digits of many ids are made at once: one call for each id would cost more than the rest of a span. */
function randomDigits(count: number): string {
  if (used + count > pool.length) {
    pool = randomBytes(POOLED_BYTES).toString('hex')
    used = 0
  }
  used += count
  return pool.slice(used - count, used)
}
