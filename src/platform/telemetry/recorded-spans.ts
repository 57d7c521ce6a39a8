import {
  type Attributes,
  isSpanContextValid,
  type Span as OtelSpan,
  type Tracer as OtelTracer,
  ROOT_CONTEXT,
  SamplingDecision,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api'
import { ParentBasedSampler, RandomIdGenerator, type Sampler, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace'
import type { Span, SpanOptions, Tracer } from './spans.ts'

// Loaded only where traces are recorded, see open-tracing.ts.

const ids = new RandomIdGenerator()

/** Work that is linked to a recorded span is recorded, whatever the chance of a trace without a parent. */
export function samplerOf(ratio: number): Sampler {
  const byParent = new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) })
  return {
    shouldSample(context, traceId, name, kind, attributes, links) {
      if (links.length > 0) return { decision: SamplingDecision.RECORD_AND_SAMPLED }
      return byParent.shouldSample(context, traceId, name, kind, attributes, links)
    },
    toString: () => `Linked{${byParent}}`,
  }
}

/** The context is always an argument: nothing here asks which span is active. */
export function tracerOf(tracer: OtelTracer, service: string): Tracer {
  return {
    service,
    start(name, parent, options) {
      const caller = parent === undefined ? undefined : contextIn(parent)
      if (parent !== undefined && caller && !isSampled(caller)) return unrecorded(parent)
      const context = caller ? trace.setSpanContext(ROOT_CONTEXT, caller) : ROOT_CONTEXT
      return spanOf(tracer, tracer.startSpan(name, optionsOf(options), context))
    },
    startLinked(name, causes, options) {
      const links = causes.flatMap(linksTo)
      if (links.length === 0) return unrecorded(textOf(newContext()))
      return spanOf(tracer, tracer.startSpan(name, { ...optionsOf(options), links }, ROOT_CONTEXT))
    },
  }
}

function spanOf(tracer: OtelTracer, span: OtelSpan): Span {
  const traceparent = textOf(span.spanContext())
  if (!span.isRecording()) return unrecorded(traceparent)
  const context = trace.setSpan(ROOT_CONTEXT, span)
  return {
    traceparent,
    isRecorded: true,
    startChild: (name, options) => spanOf(tracer, tracer.startSpan(name, optionsOf(options), context)),
    link: (to) => void span.addLinks(linksTo(to.traceparent)),
    set: (attributes) => void span.setAttributes(attributes),
    addEvent: (name, attributes) => void span.addEvent(name, attributes),
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
  addEvent() {},
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

/** The version that no `traceparent` may have. */
const INVALID_VERSION = 'ff'

/** @returns undefined for a `traceparent` that names no span: then a trace begins, as W3C Trace Context asks for */
function contextIn(traceparent: string): SpanContext | undefined {
  const [version, traceId = '', spanId = '', flags = ''] = traceparent.split('-')
  const traceFlags = Number.parseInt(flags, 16) & TraceFlags.SAMPLED
  const context = { traceId, spanId, traceFlags, isRemote: true }
  return version !== INVALID_VERSION && isSpanContextValid(context) ? context : undefined
}

function isSampled({ traceFlags }: SpanContext): boolean {
  return (traceFlags & TraceFlags.SAMPLED) !== 0
}

function newContext(): SpanContext {
  return { traceId: ids.generateTraceId(), spanId: ids.generateSpanId(), traceFlags: TraceFlags.NONE }
}

function textOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-0${traceFlags & TraceFlags.SAMPLED}`
}
