import {
  type Attributes,
  type Span as OtelSpan,
  type Tracer as OtelTracer,
  ROOT_CONTEXT,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api'
import { RandomIdGenerator } from '@opentelemetry/sdk-trace'
import type { Span, SpanOptions, Tracer } from './spans.ts'

// Loaded only where traces are recorded, see open-tracing.ts.

const ids = new RandomIdGenerator()

/**
 * The context is always an argument: nothing here asks which span is active. What is recorded is decided here too, before the
 * SDK is asked for a span: most requests are not recorded, and must cost next to nothing.
 * @param ratio the share of traces without a caller that are recorded
 */
export function tracerOf(tracer: OtelTracer, service: string, ratio: number): Tracer {
  return {
    service,
    start(name, parent, options) {
      const caller = parent !== undefined && namesSpan(parent) ? parent : undefined
      if (caller !== undefined && !isSampled(caller)) return unrecorded(caller)
      if (caller === undefined && Math.random() >= ratio) return startUnrecorded()
      const context = caller === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, contextOf(caller))
      return recorded(tracer, tracer.startSpan(name, optionsOf(options), context))
    },
    startLinked(name, causes, options) {
      const links = causes.flatMap(linksTo)
      if (links.length === 0) return startUnrecorded()
      return recorded(tracer, tracer.startSpan(name, { ...optionsOf(options), links }, ROOT_CONTEXT))
    },
    startUnrecorded,
  }
}

function recorded(tracer: OtelTracer, span: OtelSpan): Span {
  const { traceId, spanId } = span.spanContext()
  const context = trace.setSpan(ROOT_CONTEXT, span)
  return {
    traceparent: `00-${traceId}-${spanId}-01`,
    isRecorded: true,
    startChild: (name, options) => recorded(tracer, tracer.startSpan(name, optionsOf(options), context)),
    link: (to) => void span.addLinks(linksTo(to.traceparent)),
    set: (attributes) => void span.setAttributes(attributes),
    rename: (name) => void span.updateName(name),
    end: (error) => end(span, error),
  }
}

function end(span: OtelSpan, error: string | undefined): void {
  if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR }).setAttribute('error.type', error)
  span.end()
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

const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL }

function optionsOf({ kind = 'internal', attributes = {} }: SpanOptions = {}): {
  kind: SpanKind
  attributes: Attributes
} {
  return { kind: KINDS[kind], attributes }
}

function linksTo(traceparent: string | undefined): { context: SpanContext }[] {
  const isLinked = traceparent !== undefined && namesSpan(traceparent) && isSampled(traceparent)
  return isLinked ? [{ context: contextOf(traceparent) }] : []
}

// The parts of a `traceparent`: version-trace-span-flags. TRACEPARENT holds its form.
const [TRACE_AT, SPAN_AT, LAST_AT] = [3, 36, 54]
const NO_VERSION = 'ff'
const NO_TRACE = '0'.repeat(32)
const NO_SPAN = '0'.repeat(16)
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

function contextOf(traceparent: string): SpanContext {
  const [, traceId = '', spanId = ''] = traceparent.split('-')
  const traceFlags = isSampled(traceparent) ? TraceFlags.SAMPLED : TraceFlags.NONE
  return { traceId, spanId, traceFlags, isRemote: true }
}

function startUnrecorded(): Span {
  return unrecorded(`00-${ids.generateTraceId()}-${ids.generateSpanId()}-00`)
}
