import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http'
import { z } from 'zod'
import { readOptions, readVariable, runCommand, UsageError } from '../compose/command-line.ts'
import { onParentExit } from '../compose/process.ts'
import { reasonOf, StartError } from '../compose/start-failure.ts'
import { isSecret, type Verdict, verify } from '../webhooks/signature.ts'

const HELP = `Receives webhooks on this machine, for development, and prints each in one line. Nothing is stored.

  npm run webhooks:listen -- [--secret whsec_…] [--port 4000] [--fail 500|429|410|timeout[:3]]

  --secret  the secret of the endpoint, to verify signatures; absent, WEBHOOK_SECRET
  --port    where to listen; absent, 4000; 0 takes a free port
  --fail    what to answer instead of 204: always, or :3 for the first three requests.
            429 asks for a pause of 5 s; timeout never answers

A line has the time, the type, the resource, the event's id, how long after the event this attempt was made, whether the
signature is right, and the answer. A wrong signature is answered with 400. Ctrl-C ends it.

npm start sends to http://127.0.0.1:4000 outside production. Other programs do that only with WEBHOOK_ALLOW_HTTP=true and
WEBHOOK_ALLOWED_NETWORKS=127.0.0.0/8.`

const OPTIONS = {
  secret: { type: 'string' },
  port: { type: 'string', default: '4000' },
  fail: { type: 'string' },
} as const
const LOOPBACK = '127.0.0.1'
const MAX_PORT = 65_535
const MAX_BODY_BYTES = 1024 * 1024
const MAX_REQUEST_MS = 30_000
const MAX_SHOWN = 60
const PAUSE_SECONDS = 5
const FAIL = /^(500|429|410|timeout)(?::([1-9]\d{0,5}))?$/

const VERDICTS: Record<Verdict, string> = {
  verified: 'verified',
  headers_missing: 'NOT verified: a webhook- header is missing',
  invalid_timestamp: 'NOT verified: webhook-timestamp is not a number',
  too_old: 'NOT verified: it was signed more than 5 minutes ago',
  too_new: 'NOT verified: it was signed for later than 5 minutes from now',
  wrong_signature: 'NOT verified: the signature is wrong',
}

/** What a line shows of an event. Whatever else it has is ignored. */
const Shown = z.object({
  id: z.string(),
  type: z.string(),
  timestamp: z.string(),
  resource: z.object({ type: z.string(), id: z.union([z.string(), z.number()]), version: z.number().optional() }),
})

interface Answer {
  /** Undefined: none is sent. */
  status: number | undefined
  headers?: OutgoingHttpHeaders
}

interface Receiver {
  secret: string | undefined
  /** How the next request is to fail; undefined when it is not. */
  nextFailure(): Answer | undefined
  received: number
}

await runCommand(HELP, async () => {
  const { port, secret, fail } = optionsOf()
  const receiver = { secret, nextFailure: failuresOf(fail), received: 0 }
  const server = createServer({ requestTimeout: MAX_REQUEST_MS }, (request, response) => {
    receive(receiver, request, response).catch((error) => {
      // A sender that goes away before its request is complete needs no answer.
      if (request.complete) throw error
    })
  })
  const url = await listen(server, port)
  const checked = secret === undefined ? 'not verified: there is no --secret' : 'verified'
  console.log(`Webhooks are received at ${url}. Signatures are ${checked}. Ctrl-C ends it.`)
  endOnSignal(server, receiver)
})

/** @throws UsageError */
function optionsOf() {
  const { secret, port, fail } = readOptions(OPTIONS, HELP)
  if (!/^\d{1,5}$/.test(port) || Number(port) > MAX_PORT) {
    throw new UsageError(`--port must be a number from 0 to ${MAX_PORT}.`, HELP)
  }
  if (fail !== undefined && !FAIL.test(fail)) {
    throw new UsageError('--fail must be 500, 429, 410 or timeout, and may end with a number: 500:3.', HELP)
  }
  return { secret: secretOf(secret), port: Number(port), fail }
}

/** @throws UsageError, which does not show the secret */
function secretOf(option: string | undefined): string | undefined {
  const secret = option ?? readVariable('WEBHOOK_SECRET')
  if (secret === undefined || isSecret(secret)) return secret
  const name = option === undefined ? 'WEBHOOK_SECRET' : '--secret'
  throw new UsageError(`${name} must be the secret as it was shown: whsec_ and base64.`, HELP)
}

function failuresOf(fail = ''): Receiver['nextFailure'] {
  const [, kind, count] = FAIL.exec(fail) ?? []
  let left = kind === undefined ? 0 : Number(count ?? Number.POSITIVE_INFINITY)
  return () => (left-- > 0 ? failureOf(kind) : undefined)
}

function failureOf(kind: string | undefined): Answer {
  if (kind === 'timeout') return { status: undefined }
  return { status: Number(kind), ...(kind === '429' && { headers: { 'retry-after': String(PAUSE_SECONDS) } }) }
}

/** @returns the URL @throws StartError when the port can't be used */
async function listen(server: Server, port: number): Promise<string> {
  server.listen(port, LOOPBACK)
  await once(server, 'listening').catch((error) => {
    throw new StartError(`Port ${port} can't be used: ${reasonOf(error)}\nChoose another one with --port.`)
  })
  const address = server.address()
  return `http://${LOOPBACK}:${typeof address === 'object' ? address?.port : port}`
}

function endOnSignal(server: Server, receiver: Receiver): void {
  const end = () => {
    if (!server.listening) return
    server.close(() => console.log(`\nStopped. Requests received: ${receiver.received}.`))
    server.closeAllConnections()
  }
  process.on('SIGINT', end)
  process.on('SIGTERM', end)
  onParentExit(end)
}

async function receive(receiver: Receiver, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'POST') {
    response.writeHead(405, { allow: 'POST' }).end()
    return
  }
  const body = await bodyOf(request)
  receiver.received++
  const { verdict, answer } = judge(receiver, request, body)
  console.log(lineOf(request, body, verdict, answer))
  if (answer.status !== undefined) response.writeHead(answer.status, answer.headers).end()
}

/**
 * The body, or undefined when it is too large. The rest of a large body is read and dropped, so that its sender can read
 * the refusal.
 */
async function bodyOf(request: AsyncIterable<Buffer>): Promise<Buffer | undefined> {
  const parts: Buffer[] = []
  let bytes = 0
  for await (const part of request) {
    bytes += part.length
    if (bytes <= MAX_BODY_BYTES) parts.push(part)
  }
  return bytes <= MAX_BODY_BYTES ? Buffer.concat(parts) : undefined
}

function judge({ secret, nextFailure }: Receiver, { headers }: IncomingMessage, body: Buffer | undefined) {
  if (body === undefined) return { verdict: 'NOT verified: it is larger than 1 MiB', answer: { status: 413 } }
  const verdict = secret === undefined ? undefined : verify(secret, headers, body, Date.now() / 1000)
  const isRight = verdict === undefined || verdict === 'verified'
  return {
    verdict: verdict === undefined ? 'not checked' : VERDICTS[verdict],
    answer: nextFailure() ?? { status: isRight ? 204 : 400 },
  }
}

function lineOf({ headers }: IncomingMessage, body: Buffer | undefined, verdict: string, { status }: Answer): string {
  const time = new Date().toTimeString().slice(0, 8)
  const answered = status === undefined ? 'no answer' : `answered ${status}`
  return [time, ...eventOf(body, Number(headers['webhook-timestamp'])), verdict, answered].join('  ')
}

function eventOf(body: Buffer | undefined, sentSeconds: number): string[] {
  const { success, data } = Shown.safeParse(parseJson(body))
  if (!success) return ['not an event']
  const { id, type, timestamp, resource } = data
  const version = resource.version === undefined ? '' : ` v${resource.version}`
  const delayMs = sentSeconds * 1000 - Date.parse(timestamp)
  return [...[type, `${resource.type} ${resource.id}${version}`, id].map(printable), delayOf(delayMs)]
}

function parseJson(body: Buffer | undefined): unknown {
  try {
    return JSON.parse(String(body))
  } catch {
    return undefined
  }
}

/** Received text must not steer the terminal. */
function printable(text: string): string {
  return text.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, '?').slice(0, MAX_SHOWN)
}

/** The time between an event and an attempt. An attempt's time has no fraction, so it may seem to be before the event. */
function delayOf(ms: number): string {
  if (Number.isNaN(ms)) return '+?'
  const seconds = Math.max(ms, 0) / 1000
  if (seconds < 60) return `+${seconds.toFixed(1)} s`
  return seconds < 3600 ? `+${(seconds / 60).toFixed(1)} min` : `+${(seconds / 3600).toFixed(1)} h`
}
