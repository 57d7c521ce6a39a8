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
      const caller = parent === undefined ? undefined : contextIn(parent)
      if (parent !== undefined && caller && !isSampled(caller)) return unrecorded(parent)
      if (caller === undefined && Math.random() >= ratio) return startUnrecorded()
      const context = caller ? trace.setSpanContext(ROOT_CONTEXT, caller) : ROOT_CONTEXT
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

const NOTHING = {
  isRecorded: false,
  startChild(this: Span) {
    return this
  },
  link() {},
  set() {},
  rename() {},
  end() {},
}

/** Passes a trace on that is not sampled. */
function unrecorded(traceparent: string): Span {
  return { ...NOTHING, traceparent }
}

const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL }

function optionsOf({ kind = 'internal', attributes = {} }: SpanOptions = {}): {
  kind: SpanKind
  attributes: Attributes
} {
  return { kind: KINDS[kind], attributes }
}

function linksTo(traceparent: string | undefined): { context: SpanContext }[] {
  const context = traceparent === undefined ? undefined : contextIn(traceparent)
  return context && isSampled(context) ? [{ context }] : []
}

/** A version, a trace or a span that no `traceparent` may have. */
const INVALID = /^ff|-0{32}-|-0{16}-/

/** @returns undefined for a `traceparent` that names no span: then a trace begins, as W3C Trace Context asks for */
function contextIn(traceparent: string): SpanContext | undefined {
  if (INVALID.test(traceparent)) return undefined
  const [, traceId = '', spanId = '', flags = ''] = traceparent.split('-')
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true }
}

function isSampled({ traceFlags }: SpanContext): boolean {
  return (traceFlags & TraceFlags.SAMPLED) !== 0
}

function startUnrecorded(): Span {
  return unrecorded(`00-${ids.generateTraceId()}-${ids.generateSpanId()}-00`)
}
