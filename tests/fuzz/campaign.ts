import fc from 'fast-check'
import type { Operation, ServiceName } from '../../testing/openapi.ts'
import { requestsTo, type Sent, VALID } from './mutations.ts'
import { DETAILS, type Judge } from './oracle.ts'
import { bytesOf, type Line, type Outcome, openLine, type RawRequest } from './raw-http.ts'
import type { World } from './requests.ts'

export interface HuntOptions {
  operations: Operation[]
  world: World
  judge: Judge
  ports: Record<ServiceName, number>
  seed: number
  /** At least so many requests, each operation as often as any other. */
  cases: number
}

/** What came of all the requests. */
export interface Hunt {
  cases: number
  byKind: Record<string, number>
  byStatus: Record<string, number>
  /** By the title of the operation. */
  successes: Record<string, number>
  findings: Finding[]
}

export interface Finding {
  fault: string
  operation: string
  kind: string
  /** How often it was met. */
  times: number
  seed: number
  request: string
  response: string
}

interface Trial {
  sent: Sent
  /** Where it is among the requests to its operation that come of a seed. */
  place: number
}

const ROUND = 100
/** Requests under way at once. */
const LANES = 24
/** Of so many findings the smallest request is looked for. */
const MAX_SHRUNK = 25
const SHRINK_LIMIT_MS = 5_000

/** Sends requests that the documents describe, and requests made wrong in every known way, and judges the answers. */
export async function hunt({ operations, world, judge, ports, seed, cases }: HuntOptions): Promise<Hunt> {
  const lanes = Array.from({ length: LANES }, () => openLines(ports))
  const targets = operations.map((operation) => ({ operation, requests: requestsTo(operation, world) }))
  const found = new Map<string, Finding>()
  const result: Hunt = { cases: 0, byKind: {}, byStatus: {}, successes: {}, findings: [] }

  async function trial(lines: Lines, { operation, kind, due, request }: Sent) {
    const outcome = await lines[operation.service].send(request, kind !== VALID)
    return { outcome, faults: judge({ operation, due, request }, outcome) }
  }

  async function round(roundSeed: number, count: number): Promise<void> {
    const sampled = targets.map(({ operation, requests }) =>
      fc.sample(requests, { seed: seedFor(operation, roundSeed), numRuns: count }),
    )
    const trials = Array.from({ length: count }, (_, place) =>
      sampled.map((all) => ({ sent: all[place], place })),
    ).flat()
    const queue = trials.values()
    const work = async (lines: Lines) => {
      for (const { sent, place } of queue) {
        if (sent === undefined) continue
        const { outcome, faults } = await trial(lines, sent)
        countIn(result, sent, outcome)
        for (const fault of faults) await record({ sent, place }, fault, outcome, roundSeed)
      }
    }
    await Promise.all(lanes.map(work))
  }

  async function record({ sent, place }: Trial, fault: string, outcome: Outcome, roundSeed: number): Promise<void> {
    const { operation, kind } = sent
    const signature = `${operation.title}: ${gistOf(fault)}`
    const known = found.get(signature)
    if (known) return void known.times++
    const finding = {
      fault,
      operation: operation.title,
      kind,
      times: 1,
      seed: roundSeed,
      ...printed(sent.request, outcome),
    }
    found.set(signature, finding)
    if (found.size <= MAX_SHRUNK) Object.assign(finding, await shrink(sent, place, gistOf(fault), roundSeed))
  }

  /** The smallest request with the same fault; nothing when it does not come again. */
  async function shrink({ operation }: Sent, place: number, gist: string, roundSeed: number) {
    const requests = requestsTo(operation, world)
    const lines = openLines(ports)
    let smallest: Partial<Finding> = {}
    const property = fc.asyncProperty(requests, async (sent) => {
      const { outcome, faults } = await trial(lines, sent)
      const fault = faults.find((one) => gistOf(one) === gist)
      if (fault === undefined) return
      smallest = { fault, kind: sent.kind, ...printed(sent.request, outcome) }
      throw new Error(fault)
    })
    await fc.check(property, {
      seed: roundSeed,
      path: String(place),
      numRuns: 1,
      interruptAfterTimeLimit: SHRINK_LIMIT_MS,
    })
    for (const line of Object.values(lines)) line.close()
    return smallest
  }

  const share = Math.ceil(cases / operations.length)
  for (let done = 0; done < share; done += ROUND) await round(seed + done / ROUND, Math.min(ROUND, share - done))
  for (const line of lanes.flatMap((lines) => Object.values(lines))) line.close()
  return { ...result, findings: [...found.values()] }
}

/** Operations that are described alike are not to be called alike. */
function seedFor({ title }: Operation, roundSeed: number): number {
  return fc.hash(`${roundSeed} ${title}`)
}

type Lines = Record<ServiceName, Line>

function openLines({ customers, orders, orchestrator }: Record<ServiceName, number>): Lines {
  return { customers: openLine(customers), orders: openLine(orders), orchestrator: openLine(orchestrator) }
}

function gistOf(fault: string): string {
  const [gist = ''] = fault.split(DETAILS)
  return gist
}

function countIn(result: Hunt, { operation, kind }: Sent, { response }: Outcome): void {
  result.cases++
  addTo(result.byKind, kind)
  addTo(result.byStatus, String(response?.status ?? 'none'))
  if (response && response.status < 300) addTo(result.successes, operation.title)
}

function addTo(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1
}

function printed(request: RawRequest, { response, broken }: Outcome): Pick<Finding, 'request' | 'response'> {
  if (response === undefined) return { request: escaped(bytesOf(request)), response: broken.join('; ') }
  const { status, headers, body } = response
  const head = headers.filter(([name]) => TOLD_HEADERS.includes(name)).map((pair) => pair.join(': '))
  return { request: escaped(bytesOf(request)), response: [status, ...head, escaped(body)].join('\n') }
}

const TOLD_HEADERS = ['content-type', 'allow', 'connection', 'x-correlation-id', 'location', 'link']
const MAX_PRINTED = 1_500

/** Bytes as a JavaScript string would have them, the middle of many left out. */
function escaped(bytes: Buffer): string {
  const text = bytes
    .toString('latin1')
    .replace(/[^ -~]/g, (unit) => ESCAPES[unit] ?? `\\x${unit.charCodeAt(0).toString(16).padStart(2, '0')}`)
  if (text.length <= MAX_PRINTED) return text
  return `${text.slice(0, MAX_PRINTED / 2)} … ${text.length - MAX_PRINTED} more … ${text.slice(-MAX_PRINTED / 2)}`
}

const ESCAPES: Record<string, string> = { '\r': '\\r', '\n': '\\n\n', '\t': '\\t' }

/** A finding for people. */
export function describeFinding({ fault, operation, kind, times, seed, request, response }: Finding): string {
  return `${operation} | ${kind} | ${times} × | seed ${seed}\n${fault}\n--- sent\n${request}\n--- answered\n${response}\n`
}
