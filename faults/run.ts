import { setTimeout as sleep } from 'node:timers/promises'
import { type Harm, judge, type Violation } from './checker.ts'
import { askOnce, type Caller, createCaller, type Ledger } from './client.ts'
import { JumpyClock } from './clock.ts'
import type { Copy } from './fixture.ts'
import { createWishes } from './generator.ts'
import { doneIn } from './history.ts'
import { createSender, type Send } from './http.ts'
import { type Attacker, createAttacker } from './nemesis.ts'
import { type Random, randomOf } from './random.ts'
import { countStories, type Found, sumOf } from './report.ts'
import { type Planned, planFaults, planNodeKills, type Target } from './schedule.ts'
import { SWEEP_SECONDS, type System } from './system.ts'

export interface Plan {
  seed: number
  seconds: number
  target: Target
  callers: number
  /** From one kill of a node to the next, of a cluster. */
  killEverySeconds: number
}

/** Who follows a run. */
export interface Watching {
  /** For people. */
  progress(line: string): void
  /** For whoever looks for the cause of something. */
  note(line: string): void
  signal: AbortSignal
}

const PROGRESS_EVERY_MS = 5_000
/** Whatever was broken, it must be well again by then. */
const RECOVERY_LIMIT_MS = 90_000
const MAX_ASKED_AGAIN = 4_000
const ASKED_AT_ONCE = 32
const PATIENCE_MS = 15_000
/** How likely a request is sent twice at once. With several instances, to two of them. */
const TWINS = 0.08
const TWINS_OF_CLUSTER = 0.3
const SAME_LIMIT_MS = 15_000

/** A whole run: work under fire, peace, and judgement. */
export async function runFaults(plan: Plan, system: System, version: string, watching: Watching): Promise<Found> {
  const { seed, seconds, target, callers: count } = plan
  const { progress, note, signal } = watching
  const ledger: Ledger = { wishes: [], outcomes: new Map(), requests: 0, retries: 0, underWay: 0 }
  const send = createSender(system.ports, system.token)
  const wishes = createWishes(seed, system.ground)
  const habits = { callers: count, twins: system.ports.length > 1 ? TWINS_OF_CLUSTER : TWINS }
  const callers = Array.from({ length: count }, (_, i) =>
    createCaller(i, habits, wishes, randomOf(seed, `caller ${i}`), send, ledger),
  )
  const clocks = callers.map(({ clock }) => clock)
  const attacker = createAttacker(target, system, clocks, note)
  const faults = faultsOf(plan, system)
  if ((await whenReady(system, signal)) === undefined) throw new Error('the services did not start')
  progress('all services are ready; the faults begin')

  const telling = setInterval(() => progress(progressOf(ledger, attacker.attacks)), PROGRESS_EVERY_MS)
  try {
    const recovery = await fight(callers, () => attacker.attack(faults, signal), system, watching)
    progress('asking again')
    const askedAgain = await askAgain(send, ledger, randomOf(seed, 'asking again'), signal)
    await sleep((SWEEP_SECONDS + 2) * 1_000, undefined, { signal })
    progress('judging')
    const verdict = await judgeAll(system, ledger, recovery)
    const { readyAfterSeconds, answeredAfterSeconds } = recovery
    return {
      seed,
      seconds,
      database: version,
      ...figuresOf(system, ledger, attacker),
      readyAfterSeconds,
      answeredAfterSeconds,
      askedAgain,
      ...verdict,
    }
  } finally {
    clearInterval(telling)
  }
}

function faultsOf({ seed, seconds, target, callers, killEverySeconds }: Plan, { ports }: System): Planned[] {
  const random = randomOf(seed, 'faults')
  if (target !== 'galera') return planFaults(target, seconds * 1_000, callers, random)
  return planNodeKills(seconds * 1_000, killEverySeconds * 1_000, ports.length, random)
}

/** How a system came back from the faults. */
interface Recovery {
  /** Undefined when it was not. */
  readyAfterSeconds: number | undefined
  answeredAfterSeconds: number
  /** Of processes, until all was ready. */
  starts: number
}

/** The callers work until the attack is over, and then until each has its answer; the services get well by themselves. */
async function fight(
  callers: readonly Caller[],
  attack: () => Promise<number>,
  system: System,
  { progress, signal }: Watching,
): Promise<Recovery> {
  const over = new AbortController()
  const givenUp = new AbortController()
  try {
    const working = Promise.all(callers.map((caller) => caller.work(over.signal, givenUp.signal)))
    const peace = await attack()
    over.abort()
    progress('the faults are over')
    const readyAt = await whenReady(system, signal)
    const starts = startsOf(system)
    progress(readyAt === undefined ? 'NOT all services are ready' : 'all services are ready again')
    await Promise.race([working, sleep(RECOVERY_LIMIT_MS, undefined, { signal, ref: false })])
    const answeredAfterSeconds = (performance.now() - peace) / 1_000
    const readyAfterSeconds = readyAt === undefined ? undefined : (readyAt - peace) / 1_000
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

/** Whoever was told that something was done is told the same when it asks again. @returns how many asked */
async function askAgain(send: Send, ledger: Ledger, random: Random, signal: AbortSignal): Promise<number> {
  const clock = new JumpyClock()
  const done = ledger.wishes.filter(({ story }) => doneIn(story).length > 0)
  const chosen = random.shuffled(done).slice(0, MAX_ASKED_AGAIN)
  const next = chosen.values()
  const ask = async () => {
    for (const { story, sendable } of next) {
      if (signal.aborted) return
      await askOnce(story, () => send(sendable, clock, PATIENCE_MS), ledger)
    }
  }
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, ask))
  return chosen.length
}

async function judgeAll(system: System, ledger: Ledger, recovery: Recovery) {
  const { ground } = system
  const stories = ledger.wishes.map(({ story }) => story)
  const violations: Violation[] = []
  for (const copy of ground.copies) {
    const known = new Set(violations.map((violation) => JSON.stringify(violation)))
    const found = judge(stories, await copy.kept(), ground.marks)
    violations.push(...found.filter((violation) => !known.has(JSON.stringify(violation))))
  }
  const of = (harm: Harm) => violations.filter((violation) => violation.harm === harm).length
  return {
    lost: of('lost'),
    doubled: of('doubled'),
    differing: of('differing'),
    violations,
    troubles: [...(await troublesOf(system, recovery)), ...faultyResponses(ledger)],
    conflicts: await system.cluster?.conflicts(),
  }
}

async function troublesOf(system: System, recovery: Recovery): Promise<string[]> {
  const { copies } = system.ground
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

/** Sweeps go on, and a node hears of them a little later. */
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

/** What is away is said to be away: nothing of that is a fault that nobody had thought of. */
function faultyResponses({ outcomes }: Ledger): string[] {
  const count = outcomes.get('500') ?? 0
  return count === 0 ? [] : [`${count} requests were answered with 500`]
}

function figuresOf({ processes }: System, ledger: Ledger, { attacks }: Attacker) {
  const stories = countStories(ledger)
  const counts = Object.values(stories)
  const starts = [...processes].map(
    ([name, process]) => [name, { starts: process.starts(), inVain: process.failedStarts() }] as const,
  )
  return {
    requests: ledger.requests,
    retries: ledger.retries,
    outcomes: Object.fromEntries([...ledger.outcomes].sort(([a], [b]) => (a < b ? -1 : 1))),
    stories,
    acknowledged: counts.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
    refused: counts.reduce((sum, { refused }) => sum + refused, 0),
    attacks,
    starts: Object.fromEntries(starts),
  }
}

function progressOf({ wishes, requests, underWay }: Ledger, { kills, network }: Found['attacks']): string {
  const settled = wishes.filter(({ story }) => story.settled).length
  return `${requests} requests, ${settled} stories settled, ${underWay} under way; ${sumOf(kills)} kills, ${sumOf(network)} network faults`
}
