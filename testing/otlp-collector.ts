import { createServer, type IncomingMessage } from 'node:http'
import { gunzipSync } from 'node:zlib'
import { onTestFinished } from 'vitest'
import { listen } from './listen.ts'
import { until } from './programs.ts'

/** A span as a collector has it, with its attributes as plain values. */
export interface CollectedSpan {
  /** `service.name` of the process that sent it. */
  service: string
  name: string
  kind: 'internal' | 'server' | 'client'
  traceId: string
  spanId: string
  parentSpanId: string | undefined
  attributes: Record<string, unknown>
  events: { name: string; attributes: Record<string, unknown> }[]
  links: { traceId: string; spanId: string }[]
  failed: boolean
  startMs: number
  endMs: number
}

/** An OTLP collector on loopback, which keeps what it gets. */
export interface Collector {
  /** For `OTEL_EXPORTER_OTLP_ENDPOINT`. */
  url: string
  spans: CollectedSpan[]
  /** The headers of each request. */
  headers: IncomingMessage['headers'][]
  /** The status of each answer from now on; undefined leaves requests without one. Default: 200 */
  status: number | undefined
  /** Waits until spans came that fit. */
  waitFor(fits: (spans: CollectedSpan[]) => boolean): Promise<CollectedSpan[]>
}

/** Runs until the test ends. */
export async function startCollector(): Promise<Collector> {
  const collector: Collector = {
    url: '',
    spans: [],
    headers: [],
    status: 200,
    waitFor: (fits) =>
      until(
        () => (fits(collector.spans) ? collector.spans : undefined),
        () =>
          `no such spans came, but these: ${JSON.stringify(collector.spans.map(({ service, name }) => [service, name]))}`,
      ),
  }
  const server = createServer(async (request, response) => {
    const body = await bodyOf(request)
    collector.headers.push(request.headers)
    if (collector.status === undefined) return
    if (collector.status === 200 && request.url === '/v1/traces') collector.spans.push(...spansIn(JSON.parse(body)))
    response.writeHead(collector.status, { 'content-type': 'application/json' }).end('{}')
  })
  collector.url = `http://127.0.0.1:${await listen(server)}`
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  return collector
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  const bytes = Buffer.concat(chunks)
  return (request.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString()
}

// The JSON form of OTLP: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding

interface OtlpValue {
  stringValue?: string
  intValue?: number | string
  doubleValue?: number
  boolValue?: boolean
  arrayValue?: { values: OtlpValue[] }
}

type OtlpAttributes = { key: string; value: OtlpValue }[]

interface OtlpSpan {
  name: string
  kind: number
  traceId: string
  spanId: string
  parentSpanId?: string
  attributes?: OtlpAttributes
  events?: { name: string; attributes?: OtlpAttributes }[]
  links?: { traceId: string; spanId: string }[]
  status?: { code?: number }
  startTimeUnixNano: string
  endTimeUnixNano: string
}

interface OtlpTraces {
  resourceSpans: { resource: { attributes: OtlpAttributes }; scopeSpans: { spans: OtlpSpan[] }[] }[]
}

const KINDS: Record<number, CollectedSpan['kind']> = { 1: 'internal', 2: 'server', 3: 'client' }
const FAILED = 2

function spansIn({ resourceSpans }: OtlpTraces): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(attributesIn(resource.attributes)['service.name'])
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => ({ service, ...spanIn(span) })))
  })
}

function spanIn(span: OtlpSpan): Omit<CollectedSpan, 'service'> {
  const { name, traceId, spanId, parentSpanId, status, startTimeUnixNano, endTimeUnixNano } = span
  const kind = KINDS[span.kind]
  if (kind === undefined) throw new Error(`a span of kind ${span.kind}`)
  return {
    ...{ name, kind, traceId, spanId, parentSpanId },
    attributes: attributesIn(span.attributes),
    events: (span.events ?? []).map((event) => ({ name: event.name, attributes: attributesIn(event.attributes) })),
    links: (span.links ?? []).map((link) => ({ traceId: link.traceId, spanId: link.spanId })),
    failed: status?.code === FAILED,
    startMs: msOf(startTimeUnixNano),
    endMs: msOf(endTimeUnixNano),
  }
}

function msOf(nanoseconds: string): number {
  return Number(BigInt(nanoseconds) / 1_000n) / 1_000
}

function attributesIn(attributes: OtlpAttributes = []): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, plainOf(value)]))
}

function plainOf({ stringValue, intValue, doubleValue, boolValue, arrayValue }: OtlpValue): unknown {
  if (arrayValue) return arrayValue.values.map(plainOf)
  return stringValue ?? (intValue === undefined ? undefined : Number(intValue)) ?? doubleValue ?? boolValue
}
