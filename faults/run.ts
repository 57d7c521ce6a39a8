import { setTimeout as sleep } from 'node:timers/promises'
import { type Random, randomOf } from '../testing/random.ts'
import { check, checkHeard, type Violation, type ViolationKind } from './checker.ts'
import { type Caller, createCaller, type History, invoke } from './client.ts'
import { SkewedClock } from './clock.ts'
import { createFeedReader } from './feed-reader.ts'
import type { Copy } from './fixture.ts'
import { createGenerator } from './generator.ts'
import { okIn } from './history.ts'
import { createSender, type Send } from './http.ts'
import type { Listener } from './listener.ts'
import { createNemesis, type Nemesis } from './nemesis.ts'
import { countOperations, countPoRefusals, type Found, sumOf } from './report.ts'
import { type Planned, planFaults, planNodeKills, type Target } from './schedule.ts'
import { SWEEP_SECONDS, type System } from './system.ts'
import { createWebhookReceiver } from './webhook-receiver.ts'

export interface Plan {
  seed: number
  seconds: number
  target: Target
  callers: number
  /** From one kill of a node to the next, of a cluster. */
  killEverySeconds: number
}

/** Where a run reports its progress. */
export interface Watching {
  /** A line for the terminal. */
  progress(line: string): void
  /** A line for `faults.log`. */
  note(line: string): void
  signal: AbortSignal
}

const PROGRESS_EVERY_MS = 5_000
/** Within this time everything must have recovered. */
const RECOVERY_LIMIT_MS = 90_000
const MAX_ASKED_AGAIN = 4_000
const AT_ONCE = 32
const PATIENCE_MS = 15_000
/** The probability that a request is sent twice at once, to two instances where there are several. */
const DUPLICATES = 0.08
const DUPLICATES_OF_CLUSTER = 0.3
const SAME_LIMIT_MS = 15_000

/** A whole run: operations under faults, recovery, and the check. */
export async function runFaults(plan: Plan, system: System, version: string, watching: Watching): Promise<Found> {
  const { seed, seconds, target, callers: count } = plan
  const { progress, note, signal } = watching
  const history: History = { operations: [], outcomes: new Map(), requests: 0, retries: 0, inFlight: 0 }
  const send = createSender(system.ports, system.token)
  const generator = createGenerator(seed, system.fixture)
  const habits = { callers: count, duplicates: system.ports.length > 1 ? DUPLICATES_OF_CLUSTER : DUPLICATES }
  const callers = Array.from({ length: count }, (_, i) =>
    createCaller(i, habits, generator, randomOf(seed, `caller ${i}`), send, history),
  )
  const clocks = callers.map(({ clock }) => clock)
  const nemesis = createNemesis(target, system, clocks, note)
  const faults = faultsOf(plan, system)
  if ((await whenReady(system, signal)) === undefined) throw new Error('the services did not start')
  progress('all services are ready; the faults begin')

  const listeners = await listenersOf(seed, system)
  const listened = new AbortController()
  const listening = listeners.map((listener) => listener.listen(listened.signal))
  const reporting = setInterval(() => progress(progressOf(history, nemesis.faults)), PROGRESS_EVERY_MS)
  try {
    const recovery = await runUnderFaults(callers, () => nemesis.run(faults, signal), system, watching)
    progress('asking again')
    const askedAgain = await invokeAgain(send, history, randomOf(seed, 'asking again'), signal)
    await sleep((SWEEP_SECONDS + 2) * 1_000, undefined, { signal })
    listened.abort()
    await Promise.all(listening)
    await Promise.all(listeners.map((listener) => listener.hearRest(signal)))
    progress('checking')
    const verdict = await checkAll(system, history, listeners, recovery)
    const { readyAfterSeconds, answeredAfterSeconds } = recovery
    return {
      seed,
      seconds,
      database: version,
      ...figuresOf(system, history, nemesis),
      readyAfterSeconds,
      answeredAfterSeconds,
      askedAgain,
      ...verdict,
    }
  } finally {
    clearInterval(reporting)
    listened.abort()
  }
}

/** One who asks for everything, and two who are told. */
async function listenersOf(seed: number, { ports, token }: System): Promise<Listener[]> {
  const receiver = (name: string, eventTypes: readonly string[]) =>
    createWebhookReceiver(ports, token, { name, eventTypes, random: randomOf(seed, name) })
  return [
    createFeedReader(ports, token),
    await receiver('receiver of all', ['*']),
    await receiver('receiver of orders', ['order.*']),
  ]
}

function faultsOf({ seed, seconds, target, callers, killEverySeconds }: Plan, { ports }: System): Planned[] {
  const random = randomOf(seed, 'faults')
  if (target !== 'galera') return planFaults(target, seconds * 1_000, callers, random)
  return planNodeKills(seconds * 1_000, killEverySeconds * 1_000, ports.length, random)
}

/** How a system recovered. */
interface Recovery {
  /** Undefined when it did not become ready. */
  readyAfterSeconds: number | undefined
  answeredAfterSeconds: number
  /** Starts of processes until all was ready. */
  starts: number
}

/** Callers work until the faults are over, and then until each has its response. Services must recover by themselves. */
async function runUnderFaults(
  callers: readonly Caller[],
  runFaults: () => Promise<number>,
  system: System,
  { progress, signal }: Watching,
): Promise<Recovery> {
  const over = new AbortController()
  const givenUp = new AbortController()
  try {
    const working = Promise.all(callers.map((caller) => caller.work(over.signal, givenUp.signal)))
    const lastFaultAt = await runFaults()
    over.abort()
    progress('the faults are over')
    const readyAt = await whenReady(system, signal)
    const starts = startsOf(system)
    progress(readyAt === undefined ? 'NOT all services are ready' : 'all services are ready again')
    await Promise.race([working, sleep(RECOVERY_LIMIT_MS, undefined, { signal, ref: false })])
    const answeredAfterSeconds = (performance.now() - lastFaultAt) / 1_000
    const readyAfterSeconds = readyAt === undefined ? undefined : (readyAt - lastFaultAt) / 1_000
    return { readyAfterSeconds, answeredAfterSeconds, starts }
  } finally {
    over.abort()
    givenUp.abort()
  }
}

/** @returns when they were; undefined when they did not become ready in time */
async function whenReady(system: System, signal: AbortSignal): Promise<number | undefined> {
  const until = Date.now() + RECOVERY_LIMIT_MS
  while (Date.now() < until) {
    if (await system.ready()) return performance.now()
    await sleep(100, undefined, { signal })
  }
  return undefined
}

function deathsOf({ processes }: System): string[] {
  return [...processes.values()].flatMap((process) => process.ownDeaths())
}

function startsOf({ processes }: System): number {
  return [...processes.values()].reduce((sum, process) => sum + process.starts(), 0)
}

/** Invokes acknowledged operations once more: each must get the same response. @returns how many */
async function invokeAgain(send: Send, history: History, random: Random, signal: AbortSignal): Promise<number> {
  const clock = new SkewedClock()
  const done = history.operations.filter(({ entry }) => okIn(entry).length > 0)
  const chosen = random.shuffled(done).slice(0, MAX_ASKED_AGAIN)
  const next = chosen.values()
  const work = async () => {
    for (const { entry, request } of next) {
      if (signal.aborted) return
      await invoke(entry, () => send(request, clock, PATIENCE_MS), history)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return chosen.length
}

async function checkAll(system: System, history: History, listeners: readonly Listener[], recovery: Recovery) {
  const { fixture } = system
  const entries = history.operations.map(({ entry }) => entry)
  const violations: Violation[] = []
  for (const copy of fixture.copies) {
    const known = new Set(violations.map((violation) => JSON.stringify(violation)))
    const final = await copy.finalState()
    const heard = listeners.flatMap((listener) => checkHeard(entries, final, listener))
    const found = [...check(entries, final, fixture.marks), ...heard]
    violations.push(...found.filter((violation) => !known.has(JSON.stringify(violation))))
  }
  const of = (kind: ViolationKind) => violations.filter((violation) => violation.kind === kind).length
  return {
    lost: of('lost'),
    doubled: of('doubled'),
    differing: of('differing'),
    untold: of('untold'),
    heard: Object.fromEntries(listeners.map((listener) => [listener.name, listener.summary()])),
    violations,
    troubles: [
      ...(await troublesOf(system, recovery)),
      ...faultyResponses(history),
      ...listeners.flatMap((listener) => listener.troubles()),
    ],
    conflicts: await system.cluster?.conflicts(),
  }
}

async function troublesOf(system: System, recovery: Recovery): Promise<string[]> {
  const { copies } = system.fixture
  const differences: string[] = []
  for (const copy of copies) differences.push(...(await copy.differences()), ...(await copy.heldTooLong()))
  return [
    ...new Set(differences),
    ...((await becomeSame(copies)) ? [] : ['the nodes of the cluster do not hold the same']),
    ...deathsOf(system),
    ...(recovery.readyAfterSeconds === undefined ? ['not every service became ready again'] : []),
    ...((await system.ready()) ? [] : ['not every service is ready at the end']),
    ...(startsOf(system) > recovery.starts ? ['a process was started again although nothing was done to it'] : []),
  ]
}

/** Sweeps continue, and reach the other nodes a little later. */
async function becomeSame(copies: readonly Copy[]): Promise<boolean> {
  if (copies.length === 1) return true
  const until = Date.now() + SAME_LIMIT_MS
  while (Date.now() < until) {
    const checksums = await Promise.all(copies.map((copy) => copy.checksums()))
    if (new Set(checksums).size === 1) return true
    await sleep(100)
  }
  return false
}

/** An outage must be answered with 503 or 504: a 500 is an unexpected error. */
function faultyResponses({ outcomes }: History): string[] {
  const count = outcomes.get('500') ?? 0
  return count === 0 ? [] : [`${count} requests were answered with 500`]
}

function figuresOf({ processes }: System, history: History, { faults }: Nemesis) {
  const operations = countOperations(history)
  const counts = Object.values(operations)
  const starts = [...processes].map(
    ([name, process]) => [name, { starts: process.starts(), failed: process.failedStarts() }] as const,
  )
  return {
    requests: history.requests,
    retries: history.retries,
    outcomes: Object.fromEntries([...history.outcomes].sort(([a], [b]) => (a < b ? -1 : 1))),
    operations,
    acknowledged: counts.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
    refused: counts.reduce((sum, { refused }) => sum + refused, 0),
    refusedForPo: countPoRefusals(history),
    faults,
    starts: Object.fromEntries(starts),
  }
}

function progressOf({ operations, requests, inFlight }: History, { kills, network }: Found['faults']): string {
  const settled = operations.filter(({ entry }) => entry.settled).length
  return `${requests} requests, ${settled} operations settled, ${inFlight} in flight; ${sumOf(kills)} kills, ${sumOf(network)} network faults`
}
