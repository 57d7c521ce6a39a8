import type { Context, MiddlewareHandler } from 'hono'
import { AppError, PLATFORM_ERRORS } from '../core/errors.ts'
import { unsafeCast } from '../core/unsafe-cast.ts'
import { REQUESTS_REJECTED } from '../telemetry/series.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { AppEnv } from './app.ts'
import { findDoubledMember } from './duplicate-members.ts'
import type { Authenticator } from './principal.ts'
import { sendProblem, toAppError } from './problem-details.ts'
import type { ProblemShape } from './problem-document.ts'

const MAX_BODY_BYTES = 64 * 1024
/** The limit for other services: one request may carry the calls of many callers. */
const MAX_INTERNAL_BODY_BYTES = 4 * 1024 * 1024
/** Small bodies, as most are, do not count as bytes in flight: slow callers with large bodies must not block them. */
const MAX_UNCOUNTED_BODY_BYTES = 4 * 1024

const CUT_OFF = new AppError(PLATFORM_ERRORS.malformed_request, 'The body was cut off.')
const OVERLOADED = new AppError(
  PLATFORM_ERRORS.overloaded,
  'The service is receiving too many large bodies. Try again soon.',
  {
    retry_after: 1,
  },
)

/** Bytes of larger bodies in flight: one count for all services of a process. */
export interface BodiesInFlight {
  bytes: number
}

export interface BodyConfig {
  authenticator: Authenticator
  /** Whether the app has routes for the other services. */
  internal: boolean
  inFlight: BodiesInFlight
  maxBytesInFlight: number
  telemetry: Telemetry
}

interface Limit {
  maxBytes: number
  /** The refusal of a larger body. */
  refusal: AppError
}

const PUBLIC_LIMIT = limitOf(MAX_BODY_BYTES)
const INTERNAL_LIMIT = limitOf(MAX_INTERNAL_BODY_BYTES)

function limitOf(maxBytes: number): Limit {
  return {
    maxBytes,
    refusal: new AppError(PLATFORM_ERRORS.payload_too_large, `The body is larger than ${maxBytes / 1024} KiB.`),
  }
}

/** Calls the next middleware when the whole body has arrived and is not too large. Keeps its text for later readers. */
export function receiveBody(config: BodyConfig, shape: ProblemShape): MiddlewareHandler<AppEnv> {
  const rejected = config.telemetry.metrics.counter(REQUESTS_REJECTED, 'body_bytes')
  return async (c, next) => {
    const received = await receive(c, limitFor(c, config), config)
    if (received instanceof AppError) {
      if (received === OVERLOADED) rejected()
      c.res = sendProblem(c, received, shape)
      return
    }
    if (c.req.method !== 'GET') keepText(c, received)
    return next()
  }
}

/** Only other services may send large bodies, so the service token is verified before the body is received. */
function limitFor(c: Context<AppEnv>, { authenticator, internal }: BodyConfig): Limit {
  if (!internal || !c.req.path.startsWith('/internal/')) return PUBLIC_LIMIT
  try {
    authenticator.service(c.req.header('authorization'))
    return INTERNAL_LIMIT
  } catch (error) {
    return { maxBytes: MAX_BODY_BYTES, refusal: toAppError(error) }
  }
}

const NO_BYTES = new Uint8Array(0)

/** The bytes of a body, or its refusal. The rest of a refused body is not read. */
async function receive(
  c: Context<AppEnv>,
  limit: Limit,
  { inFlight, maxBytesInFlight }: Pick<BodyConfig, 'inFlight' | 'maxBytesInFlight'>,
): Promise<Uint8Array | AppError> {
  const stated = Number(c.req.header('content-length') ?? Number.NaN)
  if (stated > limit.maxBytes) return limit.refusal
  if (c.req.method === 'GET') return NO_BYTES
  const share = openShare(inFlight, maxBytesInFlight)
  try {
    if (Number.isNaN(stated)) return await readStream(c.req.raw.body, limit, share)
    // Announced bytes may arrive at any moment, so they count before they arrive.
    if (!share.growTo(stated)) return OVERLOADED
    const bytes = new Uint8Array(await c.req.arrayBuffer())
    return bytes.length > limit.maxBytes ? limit.refusal : bytes
  } catch {
    return CUT_OFF
  } finally {
    share.close()
  }
}

/** One request's part of the bytes in flight. */
interface Share {
  /** False when the bytes in flight would exceed their maximum. */
  growTo(bytes: number): boolean
  close(): void
}

function openShare(inFlight: BodiesInFlight, max: number): Share {
  let own = 0
  return {
    growTo(bytes) {
      const counted = bytes <= MAX_UNCOUNTED_BODY_BYTES ? 0 : bytes
      if (counted > 0 && inFlight.bytes - own + counted > max) return false
      inFlight.bytes += counted - own
      own = counted
      return true
    },
    close() {
      inFlight.bytes -= own
      own = 0
    },
  }
}

/** Reads a chunked body, whose length is unknown until its end. */
async function readStream(
  stream: ReadableStream<Uint8Array> | null,
  { maxBytes, refusal }: Limit,
  share: Share,
): Promise<Uint8Array | AppError> {
  let bytes = NO_BYTES
  let size = 0
  // The server discards the rest of a refused body, so that the caller can read the refusal.
  for await (const part of stream?.values({ preventCancel: true }) ?? []) {
    if (size + part.length > maxBytes) return refusal
    if (!share.growTo(size + part.length)) return OVERLOADED
    bytes = append(bytes, size, part, maxBytes)
    size += part.length
  }
  return bytes.subarray(0, size)
}

/** Chunks may hold one byte each. A list of chunk objects would take more memory than their bytes. */
function append(bytes: Uint8Array<ArrayBuffer>, size: number, part: Uint8Array, max: number): Uint8Array<ArrayBuffer> {
  const needed = size + part.length
  const roomy = needed <= bytes.length ? bytes : new Uint8Array(Math.min(2 * needed, max))
  if (roomy !== bytes) roomy.set(bytes.subarray(0, size))
  roomy.set(part, size)
  return roomy
}

/** A faulty body is refused where it is read: some routes never read it. */
function keepText(c: Context<AppEnv>, bytes: Uint8Array): void {
  const text = readText(c, bytes)
  if (text instanceof AppError) c.set('bodyFault', text)
  const reading = text instanceof AppError ? Promise.reject(text) : Promise.resolve(text)
  reading.catch(() => {})
  c.req.bodyCache = unsafeCast<typeof c.req.bodyCache>({ text: reading })
}

const UTF8 = new TextDecoder('utf-8', { fatal: true })
const PLAIN = /^(identity)?$/i
const JSON_TYPE = /^[^;]*json/i

function readText(c: Context<AppEnv>, bytes: Uint8Array): string | AppError {
  if (bytes.length === 0) return ''
  if (!PLAIN.test(c.req.header('content-encoding') ?? '')) {
    const extra = { accept_encoding: 'identity' }
    return new AppError(PLATFORM_ERRORS.unsupported_media_type, 'Send the body without a Content-Encoding.', extra)
  }
  const text = decode(bytes)
  if (text === undefined) return new AppError(PLATFORM_ERRORS.malformed_json, 'The body is not valid UTF-8.')
  const path = JSON_TYPE.test(c.req.header('content-type') ?? '') ? findDoubledMember(text) : undefined
  if (path === undefined) return text
  return new AppError(PLATFORM_ERRORS.validation_failed, 'The body has an error.', {
    errors: [{ path, message: 'Given twice' }],
  })
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return UTF8.decode(bytes)
  } catch {
    return undefined
  }
}
