import type { Attributes } from '@opentelemetry/api'

// What the rest of the code knows of tracing. Nothing here loads a package: where no collector is configured, there is no
// tracer, and no span is ever made.

export type { Attributes }

/** `server`: a request that came in; `client`: one that goes out; `internal`: work between them. */
export type SpanKind = 'server' | 'client' | 'internal'

export interface SpanOptions {
  /** Default: `internal`. */
  kind?: SpanKind
  /** Never ids of resources, SKUs or personal data: a trace leaves the system. */
  attributes?: Attributes
}

/** One step of a request, as a trace shows it. */
export interface Span {
  /** W3C Trace Context that names this span. */
  readonly traceparent: string
  /** False in a trace that is not sampled: nothing is kept, and a child is the span itself. */
  readonly isRecorded: boolean
  startChild(name: string, options?: SpanOptions): Span
  /** Points to a span of another trace. A span that is not recorded is never named. */
  link(to: Span): void
  set(attributes: Attributes): void
  /** @param name replaces the first one, where it is known only now */
  rename(name: string): void
  /** @param error why the step failed: a code, never a message, which could hold a value */
  end(error?: string): void
}

/** Starts spans that have no span of this process as their parent. */
export interface Tracer {
  /** The service that it is of. */
  readonly service: string
  /** @param parent the `traceparent` of the caller; undefined begins a trace, which is sampled by chance */
  start(name: string, parent: string | undefined, options?: SpanOptions): Span
  /**
   * Begins a trace of its own, for work that is done for several callers at once. It is recorded if one of theirs is, and is
   * linked to the recorded ones alone: nobody sees the trace of a caller who is not sampled.
   */
  startLinked(name: string, causes: readonly (string | undefined)[], options?: SpanOptions): Span
  /** Begins a trace that is not recorded, for what is part of no caller's trace. */
  startUnrecorded(): Span
}

/** Where spans go. One for each process. */
export interface Tracing {
  tracerOf(service: string): Tracer
  /** Sends what has ended, and waits so long for it at most. Never rejects. */
  flush(maxMs: number): Promise<void>
  /** Like `flush`, for the end of the process. */
  close(maxMs: number): Promise<void>
}
