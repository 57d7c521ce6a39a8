import type { ServiceName } from '../testing/openapi.ts'
import type { Random } from '../testing/random.ts'
import { DISPATCHERS, type ProxyName, type Victim } from './system.ts'

export type Engine = 'mysql' | 'sqlite'
/** What a run breaks: the engine on one server or file, or a cluster. */
export type Target = Engine | 'galera'

/** One fault with its parameters. Times in ms. */
export type Fault =
  | { kind: 'kill'; victim: Victim }
  | { kind: 'kill at'; step: string }
  | { kind: 'kill database'; awayMs: number }
  | { kind: 'kill node'; node: number; awayMs: number }
  | { kind: 'cut'; proxy: ProxyName }
  | { kind: 'half-close'; proxy: ProxyName; side: 'callers' | 'service' }
  | { kind: 'delay'; proxy: ProxyName; ms: number; forMs: number }
  | { kind: 'swallow'; proxy: ProxyName; forMs: number }
  | { kind: 'lose a request' | 'lose an answer'; proxy: ProxyName; afterBytes: number }
  | { kind: 'fill the pool'; service: 'customers' | 'orders'; forMs: number }
  | { kind: 'jump a clock'; caller: number; byMs: number }

export interface Planned {
  atMs: number
  fault: Fault
}

/** Kills something while a request that contains one of these texts, or its response, passes this proxy. */
export interface Step {
  victim: Victim | 'database'
  proxy: ProxyName
  texts: readonly string[]
  at: 'arrival' | 'answer'
}

const CREATE = ['POST /orders ']
const PLACEMENTS = ['POST /internal/orders/placements ']

const STEPS: Record<Target, Record<string, Step>> = {
  galera: {},
  mysql: {
    'customer found': {
      victim: 'orchestrator',
      proxy: 'orchestrator → customers',
      texts: ['/internal/customers'],
      at: 'answer',
    },
    'order sent': { victim: 'orchestrator', proxy: 'orchestrator → orders', texts: PLACEMENTS, at: 'arrival' },
    'order confirmed, not answered': {
      victim: 'orchestrator',
      proxy: 'orchestrator → orders',
      texts: PLACEMENTS,
      at: 'answer',
    },
    'placements have arrived': { victim: 'orders', proxy: 'orchestrator → orders', texts: PLACEMENTS, at: 'arrival' },
    'order has arrived': { victim: 'orders', proxy: 'callers → orders', texts: CREATE, at: 'arrival' },
    'inside a batch': { victim: 'orders', proxy: 'orders → database', texts: ['insert into `orders`'], at: 'arrival' },
    'commit sent': { victim: 'orders', proxy: 'orders → database', texts: ['commit'], at: 'arrival' },
    'committed, not answered': { victim: 'orders', proxy: 'orders → database', texts: ['commit'], at: 'answer' },
    'customer asked for': { victim: 'customers', proxy: 'orders → customers', texts: ['/internal/'], at: 'arrival' },
    'customer being made': {
      victim: 'customers',
      proxy: 'customers → database',
      texts: ['insert into `customers`'],
      at: 'arrival',
    },
    'database in a batch': {
      victim: 'database',
      proxy: 'orders → database',
      texts: ['insert into `orders`'],
      at: 'arrival',
    },
    'database in a commit': { victim: 'database', proxy: 'orders → database', texts: ['commit'], at: 'arrival' },
  },
  sqlite: {
    'order has arrived': { victim: 'all', proxy: 'callers → orders', texts: CREATE, at: 'arrival' },
    'order placed, not answered': { victim: 'all', proxy: 'callers → orders', texts: CREATE, at: 'answer' },
    'order being orchestrated': { victim: 'all', proxy: 'callers → orchestrator', texts: ['POST '], at: 'arrival' },
    'order orchestrated, not answered': {
      victim: 'all',
      proxy: 'callers → orchestrator',
      texts: ['POST '],
      at: 'answer',
    },
    'customer being made': { victim: 'all', proxy: 'callers → customers', texts: ['POST /customers'], at: 'arrival' },
  },
}

export function stepOf(target: Target, name: string): Step {
  const step = STEPS[target][name]
  if (step === undefined) throw new Error(`there is no step ${name}`)
  return step
}

const SERVICES: readonly ServiceName[] = ['customers', 'orders', 'orchestrator']
const PROXIES: Record<Engine, readonly ProxyName[]> = {
  sqlite: SERVICES.map((service) => `callers → ${service}` as const),
  mysql: [
    ...SERVICES.map((service) => `callers → ${service}` as const),
    'orchestrator → customers',
    'orchestrator → orders',
    'orders → customers',
    'orders → database',
    'customers → database',
  ],
}

/** Time for the callers to begin, and from the last fault of a kind to the end. */
const CALM_MS = 1_000
const BETWEEN_KILLS_MS = [2_500, 8_000] as const
const BETWEEN_NETWORK_FAULTS_MS = [500, 2_200] as const
const BETWEEN_LOSSES_MS = [1_000, 3_500] as const
const BETWEEN_OTHERS_MS = [3_000, 8_000] as const
const NODE_AWAY_MS = 10_000

/**
 * The faults of a run, in their order. Each kind of them at each place comes once before any comes again, in an order that
 * the choices give.
 */
export function planFaults(engine: Engine, ms: number, callers: number, random: Random): Planned[] {
  const kills = plan(ms, BETWEEN_KILLS_MS, random, () => killsOf(engine, random))
  const network = plan(ms, BETWEEN_NETWORK_FAULTS_MS, random, () => networkFaultsOf(engine, random))
  const losses = plan(ms, BETWEEN_LOSSES_MS, random, () => lossesOf(engine, random))
  const others = plan(ms, BETWEEN_OTHERS_MS, random, () => otherFaultsOf(engine, callers, random))
  return [...kills, ...network, ...losses, ...others].sort((a, b) => a.atMs - b.atMs)
}

/** Kills one node at a time, so that the others keep a quorum. Each node dies once before any dies again. */
export function planNodeKills(ms: number, everyMs: number, nodes: number, random: Random): Planned[] {
  const planned: Planned[] = []
  let deck: number[] = []
  for (let atMs = everyMs / 2; atMs < ms - CALM_MS; atMs += everyMs) {
    if (deck.length === 0) deck = random.shuffled(Array.from({ length: nodes }, (_, node) => node))
    const fault: Fault = { kind: 'kill node', node: deck.pop() ?? 0, awayMs: random.whole(0, NODE_AWAY_MS) }
    planned.push({ atMs, fault })
  }
  return planned
}

function plan(ms: number, [least, most]: readonly [number, number], random: Random, allOf: () => Fault[]): Planned[] {
  const planned: Planned[] = []
  let deck: Fault[] = []
  for (let atMs = CALM_MS; atMs < ms - CALM_MS; atMs += random.whole(least, most)) {
    if (deck.length === 0) deck = random.shuffled(allOf())
    const fault = deck.pop()
    if (fault) planned.push({ atMs, fault })
  }
  return planned
}

function killsOf(engine: Engine, random: Random): Fault[] {
  const atSteps = Object.keys(STEPS[engine]).map((step): Fault => ({ kind: 'kill at', step }))
  if (engine === 'sqlite') return [{ kind: 'kill', victim: 'all' }, { kind: 'kill', victim: 'all' }, ...atSteps]
  const atRandom = [...SERVICES, ...DISPATCHERS].map((victim): Fault => ({ kind: 'kill', victim }))
  return [...atRandom, ...atSteps, { kind: 'kill database', awayMs: random.whole(0, 3_000) }]
}

function networkFaultsOf(engine: Engine, random: Random): Fault[] {
  return PROXIES[engine].flatMap((proxy): Fault[] => [
    { kind: 'cut', proxy },
    { kind: 'half-close', proxy, side: random.oneOf('callers', 'service') },
    { kind: 'delay', proxy, ms: random.whole(30, 600), forMs: random.whole(500, 3_000) },
    { kind: 'swallow', proxy, forMs: random.whole(300, 3_000) },
  ])
}

/** Half of them at the commits of orders and at the orchestrator's call, where an outcome is most easily mistaken. */
function lossesOf(engine: Engine, random: Random): Fault[] {
  const proxies = PROXIES[engine]
  const often = proxies.filter((proxy) => proxy === 'orders → database' || proxy === 'orchestrator → orders')
  return [...proxies, ...often, ...often, ...often, ...often].flatMap((proxy): Fault[] => [
    { kind: 'lose a request', proxy, afterBytes: bytesOf(random) },
    { kind: 'lose an answer', proxy, afterBytes: bytesOf(random) },
  ])
}

function bytesOf(random: Random): number {
  return random.oneOf(0, 1, random.whole(2, 400))
}

function otherFaultsOf(engine: Engine, callers: number, random: Random): Fault[] {
  const jump = (): Fault => {
    const byMs = random.oneOf(-1, 1) * random.oneOf(5_000, 60_000, 3_600_000)
    return { kind: 'jump a clock', caller: random.whole(0, callers - 1), byMs }
  }
  if (engine === 'sqlite') return [jump()]
  const fill = (service: 'customers' | 'orders'): Fault => {
    return { kind: 'fill the pool', service, forMs: random.whole(2_000, 6_000) }
  }
  return [jump(), jump(), jump(), fill('orders'), fill('customers')]
}
