import { endFailed } from '../telemetry/failed-span.ts'
import type { Span, Tracer } from '../telemetry/spans.ts'
import type { Trace } from '../telemetry/trace.ts'
import type { Waiting } from './delivery.ts'

// A batch does the work of several callers, so it is part of nobody's trace: it has its own, and links lead both ways.

/** A command that waits for its run. */
interface Traced {
  /** Shows its time in the queue and in its runs; undefined where its trace is not recorded. */
  span: Span | undefined
}

/** @param name the batcher's */
export function startCommand(tracer: Tracer | undefined, name: string, trace: Trace | undefined): Span | undefined {
  if (tracer === undefined || !trace?.span?.isRecorded) return undefined
  return tracer.start(`${tracer.service}.${name}`, trace.span.traceparent)
}

/** Ends the span of a command when its caller gets the result. */
export function endingSpan<R>({ resolve, reject }: Waiting<R>, span: Span | undefined): Waiting<R> {
  if (span === undefined) return { resolve, reject }
  return {
    resolve(result) {
      span.end()
      resolve(result)
    },
    reject(error) {
      endFailed(span, error)
      reject(error)
    },
  }
}

/** Starts the span of one run, which is recorded if any of its commands is. It names the recorded ones alone. */
export function startBatch(tracer: Tracer | undefined, name: string, batch: readonly Traced[]): Span | undefined {
  const recorded = tracer === undefined ? [] : batch.flatMap(({ span }) => span ?? [])
  if (tracer === undefined || recorded.length === 0) return undefined
  const attributes = { 'b2b.batcher': name, 'b2b.batch.size': batch.length }
  const causes = recorded.map(({ traceparent }) => traceparent)
  const span = tracer.startLinked(`${tracer.service}.batch`, causes, { attributes })
  const [, trace_id, span_id] = span.traceparent.split('-')
  for (const command of recorded) {
    command.link(span)
    command.set({ 'b2b.batch.trace_id': trace_id, 'b2b.batch.span_id': span_id })
  }
  return span
}
