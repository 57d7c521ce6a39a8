import { type HrTime, SpanStatusCode } from '@opentelemetry/api'
import type { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import type { Resource } from '@opentelemetry/resources'
import type { CountLost } from './export-losses.ts'
import type { EndedSpan } from './recorded-spans.ts'

/** Spans that wait to be sent. More are dropped: a collector that is away costs this much memory and no time. */
const MAX_WAITING = 2_048
/** Small, because what is sent together is written as JSON in one turn of the event loop. */
const MAX_SENT_AT_ONCE = 256
const SENT_EVERY_MS = 2_000

export type Exporter = Pick<OTLPTraceExporter, 'export'>
type ExportedSpan = Parameters<Exporter['export']>[0][number]

export interface SpanQueue {
  add(span: EndedSpan): void
  /** Sends all that wait. Resolves when they are sent or lost. */
  flush(): Promise<void>
  /** Whether the collector refused, could not be reached, or took too long the last time. */
  isAway(): boolean
  /** Until it answers again. */
  assumeAway(): void
  /** How many spans are neither sent nor lost yet. */
  size(): number
}

/** Spans on their way to the collector. */
export function createSpanQueue(
  exporter: Exporter,
  resourceOf: (service: string) => Resource,
  countLost: CountLost,
): SpanQueue {
  let waiting: EndedSpan[] = []
  const sending = new Set<Promise<void>>()
  let inFlight = 0
  let isAway = false
  setInterval(sendInTurn, SENT_EVERY_MS).unref()

  function add(span: EndedSpan): void {
    if (waiting.length >= MAX_WAITING) countLost(1)
    else waiting.push(span)
    if (waiting.length >= MAX_SENT_AT_ONCE && !isAway) sendInTurn()
  }

  /** One request at a time: spans that a collector is too slow for wait, and are dropped in the end. */
  function sendInTurn(): void {
    if (sending.size === 0) sendSome()
  }

  function sendSome(): void {
    if (waiting.length === 0) return
    const some = waiting.slice(0, MAX_SENT_AT_ONCE)
    waiting = waiting.slice(MAX_SENT_AT_ONCE)
    const sent = send(some).finally(() => sending.delete(sent))
    sending.add(sent)
  }

  function send(spans: readonly EndedSpan[]): Promise<void> {
    inFlight += spans.length
    return new Promise((resolve) => {
      exporter.export(spans.map(exported), ({ code, error }) => {
        inFlight -= spans.length
        isAway = code !== SUCCESS
        if (isAway) countLost(spans.length, error)
        resolve()
      })
    })
  }

  function exported(span: EndedSpan): ExportedSpan {
    return exportedSpan(span, resourceOf(span.service))
  }

  async function flush(): Promise<void> {
    while (waiting.length > 0) sendSome()
    await Promise.all(sending)
  }

  return {
    add,
    flush,
    isAway: () => isAway,
    assumeAway() {
      isAway = true
    },
    size: () => waiting.length + inFlight,
  }
}

/** `ExportResultCode.SUCCESS` of the SDK. */
const SUCCESS = 0
const SCOPE = { name: 'b2b-orders' }

/** The form in which the exporter takes spans. */
function exportedSpan(span: EndedSpan, resource: Resource): ExportedSpan {
  const { name, kind, context, parent, links, attributes, error, startMs, endMs } = span
  return {
    ...{ name, kind, links, resource },
    spanContext: () => context,
    ...(parent && { parentSpanContext: parent }),
    startTime: timeOf(startMs),
    endTime: timeOf(endMs),
    duration: timeOf(endMs - startMs),
    status: { code: error === undefined ? SpanStatusCode.UNSET : SpanStatusCode.ERROR },
    attributes: error === undefined ? attributes : { ...attributes, 'error.type': error },
    ended: true,
    events: [],
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  }
}

/** Seconds, and the nanoseconds beside them. */
function timeOf(ms: number): HrTime {
  const seconds = Math.floor(ms / 1_000)
  return [seconds, Math.round((ms - seconds * 1_000) * 1e6)]
}
