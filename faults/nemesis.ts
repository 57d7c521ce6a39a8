import { setTimeout as sleep } from 'node:timers/promises'
import { apiClient } from '../testing/api-client.ts'
import type { CrashableServer } from '../testing/database-server.ts'
import type { NetworkProxy } from '../testing/proxy.ts'
import type { SkewedClock } from './clock.ts'
import { type Fault, type Planned, type Step, stepOf, type Target } from './schedule.ts'
import type { ProxyName, System, Victim } from './system.ts'

/** How many faults of each kind had an effect. A kill of a dead process, for example, does not count. */
export interface FaultCounts {
  kills: Record<string, number>
  atSteps: Record<string, number>
  network: Record<string, number>
  clockJumps: number
  poolsFilled: number
}

export interface Nemesis {
  faults: FaultCounts
  /**
   * Ends with a kill of everything at once, over a healed network. Resolves when the database is back.
   * @returns when that kill was
   */
  run(planned: readonly Planned[], signal: AbortSignal): Promise<number>
}

/** A step that nothing reaches within this time is given up. */
const STEP_LIMIT_MS = 2_500
const LOSS_LIMIT_MS = 1_500
/** Concurrent reads, enough to take all connections of a pool. */
const READERS = 60
const READ_LIMIT_MS = 20_000

/** @param note is called for each fault, and when the database is back */
export function createNemesis(
  target: Target,
  system: System,
  clocks: readonly SkewedClock[],
  note: (line: string) => void,
): Nemesis {
  const faults: FaultCounts = { kills: {}, atSteps: {}, network: {}, clockJumps: 0, poolsFilled: 0 }
  let databaseBack: Promise<void> = Promise.resolve()
  let databaseAway = false

  async function run(planned: readonly Planned[], signal: AbortSignal): Promise<number> {
    const began = Date.now()
    const readers: Promise<unknown>[] = []
    for (const { atMs, fault } of planned) {
      await sleep(Math.max(0, began + atMs - Date.now()), undefined, { signal })
      note(JSON.stringify(fault))
      perform(fault, readers)
    }
    await sleep(STEP_LIMIT_MS, undefined, { signal })
    await Promise.all(readers)
    await databaseBack
    for (const proxy of system.proxies.values()) proxy.heal()
    for (const victim of system.processes.keys()) kill(victim)
    killDatabase(0)
    const last = performance.now()
    await databaseBack
    return last
  }

  function perform(fault: Fault, readers: Promise<unknown>[]): void {
    switch (fault.kind) {
      case 'kill':
        kill(fault.victim)
        break
      case 'kill at':
        killAt(fault.step, stepOf(target, fault.step))
        break
      case 'kill database':
        killDatabase(fault.awayMs)
        break
      case 'kill node':
        killNode(fault.node, fault.awayMs)
        break
      case 'cut':
        count(fault.kind, proxyOf(fault.proxy).cut())
        break
      case 'half-close':
        count(fault.kind, proxyOf(fault.proxy).halfClose(fault.side))
        break
      case 'delay':
        proxyOf(fault.proxy).delay(fault.ms, fault.forMs)
        count(fault.kind, 1)
        break
      case 'swallow':
        proxyOf(fault.proxy).swallow(fault.forMs)
        count(fault.kind, 1)
        break
      case 'lose a request':
      case 'lose an answer':
        lose(fault.kind, fault.proxy, fault.afterBytes)
        break
      case 'fill the pool':
        fillPool(fault.service, fault.forMs, readers)
        break
      case 'jump a clock':
        clocks[fault.caller]?.jump(fault.byMs)
        faults.clockJumps++
    }
  }

  function proxyOf(name: ProxyName): NetworkProxy {
    const proxy = system.proxies.get(name)
    if (proxy === undefined) throw new Error(`there is no proxy ${name}`)
    return proxy
  }

  function count(kind: string, met: number): void {
    if (met > 0) faults.network[kind] = (faults.network[kind] ?? 0) + 1
  }

  function kill(victim: Victim): void {
    if (system.processes.get(victim)?.kill()) countKill(victim)
  }

  function countKill(victim: string): void {
    note(`${victim} is killed`)
    faults.kills[victim] = (faults.kills[victim] ?? 0) + 1
  }

  function killAt(name: string, { victim, proxy, texts, at }: Step): void {
    const giveUp = proxyOf(proxy).watch({
      texts,
      at,
      act() {
        faults.atSteps[name] = (faults.atSteps[name] ?? 0) + 1
        if (victim === 'database') killDatabase(0)
        else kill(victim)
        // Bytes in flight to the victim at this moment must not arrive: it must not learn what it asked for.
        return at === 'answer' ? { cutAfter: 0 } : 'pass'
      },
    })
    setTimeout(giveUp, STEP_LIMIT_MS)
  }

  function killDatabase(awayMs: number): void {
    if (system.database) takeAway('database', system.database, awayMs)
  }

  function killNode(node: number, awayMs: number): void {
    const { cluster } = system
    if (cluster)
      takeAway(`node ${node}`, { kill: () => cluster.kill(node), start: () => cluster.restart(node) }, awayMs)
  }

  /** One at a time: the other nodes of a cluster are its quorum. */
  function takeAway(name: string, { kill, start }: Pick<CrashableServer, 'kill' | 'start'>, awayMs: number): void {
    if (databaseAway) return
    databaseAway = true
    countKill(name)
    const back = async () => {
      await kill()
      await sleep(awayMs)
      await start()
      databaseAway = false
      note(`${name} is back`)
    }
    databaseBack = back()
    // `run` awaits it and throws its failure.
    databaseBack.catch(() => {})
  }

  /** Cuts a request or a response after some bytes: it is not done, or it is done and nobody learns of it. */
  function lose(kind: 'lose a request' | 'lose an answer', name: ProxyName, afterBytes: number): void {
    const giveUp = proxyOf(name).watch({
      texts: ANY_WORK,
      at: kind === 'lose a request' ? 'departure' : 'answer',
      act() {
        count(kind, 1)
        return { cutAfter: afterBytes }
      },
    })
    setTimeout(giveUp, LOSS_LIMIT_MS)
  }

  /** Silences all connections to the database, and starts more readers than the pool has connections. */
  function fillPool(service: 'customers' | 'orders', forMs: number, readers: Promise<unknown>[]): void {
    faults.poolsFilled++
    proxyOf(`${service} → database`).swallow(forMs)
    const api = apiClient(`http://127.0.0.1:${system.ports[0]?.[service]}`, system.token)
    const read = () => api.get(`/${service}?limit=1`, { signal: AbortSignal.timeout(READ_LIMIT_MS) })
    for (let i = 0; i < READERS; i++) readers.push(read().catch(() => {}))
  }

  return { faults, run }
}

/** Texts of requests that change something, over HTTP and at the commit. */
const ANY_WORK = ['POST /', 'commit']
