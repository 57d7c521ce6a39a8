import { type Ended, MAX_IN_FLIGHT as MAX_OF_ENDPOINT } from './endpoint-work.ts'

/** How many deliveries one process has on their way. */
export const MAX_IN_FLIGHT = 32
/** A response that takes longer is slow. */
const SLOW_MS = 5_000

/** What a dispatcher knows of one endpoint. Times are those of `performance.now()`. */
export interface Lane {
  id: number
  /** Attempts that the next step notes, each until a time: its lease has ended by then. */
  ended: (Ended & { until: number })[]
  /** Deliveries that are on their way, and those that the step under way may take. */
  taken: number
  /** Whether a step is under way. */
  isBusy: boolean
  /** Whether there may be something to send. */
  isDue: boolean
  /** Whether the endpoint responded soon the last time. */
  isFast: boolean
  /** No step is done until then. */
  restsUntil: number
}

export function createLane(id: number): Lane {
  return { id, ended: [], taken: 0, isBusy: false, isDue: false, isFast: false, restsUntil: 0 }
}

/**
 * How many deliveries a lane may take now. One, until its endpoint has responded soon: a few endpoints that never respond
 * would otherwise take all that there is.
 */
export function roomIn(lane: Lane, lanes: Iterable<Lane>): number {
  const free = MAX_IN_FLIGHT - sumOf(lanes)
  const own = (lane.isFast ? MAX_OF_ENDPOINT : 1) - lane.taken
  return Math.max(0, Math.min(free, own))
}

function sumOf(lanes: Iterable<Lane>): number {
  let sum = 0
  for (const { taken } of lanes) sum += taken
  return sum
}

/** Whether nothing of a lane is under way or waits for its next step. */
export function isIdle({ isBusy, taken, ended, restsUntil }: Lane, now: number): boolean {
  return !isBusy && taken === 0 && ended.length === 0 && restsUntil <= now
}

/** Notes that a delivery of a lane is back. @param ended the attempt, or the delivery that is given back */
export function takeBack(lane: Lane, ended: Lane['ended'][number]): void {
  const { result } = ended
  lane.taken--
  lane.ended.push(ended)
  if (result) lane.isFast = result.error === null && result.durationMs < SLOW_MS
}
