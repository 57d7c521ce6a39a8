import fc from 'fast-check'
import type { Operation, ServiceName } from '../../testing/openapi.ts'
import { requestsTo, type Sent, VALID } from './mutations.ts'
import { DETAILS, type Oracle } from './oracle.ts'
import { bytesOf, type Line, type Outcome, openLine, type RawRequest } from './raw-http.ts'
import type { World } from './requests.ts'

export interface CampaignOptions {
  operations: Operation[]
  world: World
  oracle: Oracle
  ports: Record<ServiceName, number>
  seed: number
  /** The least number of requests, shared equally by the operations. */
  cases: number
}

/** The results of all requests. */
export interface Campaign {
  cases: number
  byKind: Record<string, number>
  byStatus: Record<string, number>
  /** Counts by the title of the operation. */
  successes: Record<string, number>
  findings: Finding[]
}

export interface Finding {
  fault: string
  operation: string
  kind: string
  /** How often it occurred. */
  times: number
  seed: number
  request: string
  response: string
}

interface Trial {
  sent: Sent
  /** Its index among the requests to its operation from one seed. */
  index: number
}

const ROUND = 100
/** Concurrent requests. */
const LANES = 24
/** This many findings are shrunk to their smallest request. */
const MAX_SHRUNK = 25
const SHRINK_LIMIT_MS = 5_000

/** Sends valid requests and requests with every known defect, and lets the oracle check the responses. */
export async function runCampaign({
  operations,
  world,
  oracle,
  ports,
  seed,
  cases,
}: CampaignOptions): Promise<Campaign> {
  const lanes = Array.from({ length: LANES }, () => openLines(ports))
  const targets = operations.map((operation) => ({ operation, requests: requestsTo(operation, world) }))
  const found = new Map<string, Finding>()
  const result: Campaign = { cases: 0, byKind: {}, byStatus: {}, successes: {}, findings: [] }

  async function trial(lines: Lines, { operation, kind, due, request }: Sent) {
    const outcome = await lines[operation.service].send(request, kind !== VALID)
    return { outcome, faults: oracle({ operation, due, request }, outcome) }
  }

  async function round(roundSeed: number, count: number): Promise<void> {
    const sampled = targets.map(({ operation, requests }) =>
      fc.sample(requests, { seed: seedFor(operation, roundSeed), numRuns: count }),
    )
    const trials = Array.from({ length: count }, (_, index) =>
      sampled.map((all) => ({ sent: all[index], index })),
    ).flat()
    const queue = trials.values()
    const work = async (lines: Lines) => {
      for (const { sent, index } of queue) {
        if (sent === undefined) continue
        const { outcome, faults } = await trial(lines, sent)
        countIn(result, sent, outcome)
        for (const fault of faults) await record({ sent, index }, fault, outcome, roundSeed)
      }
    }
    await Promise.all(lanes.map(work))
  }

  async function record({ sent, index }: Trial, fault: string, outcome: Outcome, roundSeed: number): Promise<void> {
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
    if (found.size <= MAX_SHRUNK) Object.assign(finding, await shrink(sent, index, gistOf(fault), roundSeed))
  }

  /** The smallest request with the same fault; nothing when the fault does not occur again. */
  async function shrink({ operation }: Sent, index: number, gist: string, roundSeed: number) {
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
      path: String(index),
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

/** Operations with equal schemas get different requests. */
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

function countIn(result: Campaign, { operation, kind }: Sent, { response }: Outcome): void {
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

/** Bytes as a JavaScript string literal, shortened in the middle. */
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
