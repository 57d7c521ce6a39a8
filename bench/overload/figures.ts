import { type Percentiles, percentilesOf } from '../../testing/latencies.ts'
import type { Arrival, Outcome, Step } from './sender.ts'

export interface Figures {
  /** Requests a second. */
  offered: number
  /** Responses a second, within the step. */
  accepted: number
  refused: number
  /** Counts of requests. */
  other: number
  notSent: number
  /** From the time a request was due to its response, in ms. */
  acceptedMs: Percentiles
  refusedMs: Percentiles
  /** All responses, by whether a connection was opened for the request. */
  onKeptMs: Percentiles
  onNewMs: Percentiles
  /** The delay of the sender, in ms. */
  lateMs: Percentiles
  /** Orders accepted in each second of the step. */
  acceptedInSeconds: number[]
}

/** The figures of one step. */
export function figuresOf(arrivals: readonly Arrival[], steps: readonly Step[], step: number): Figures {
  const from = startOf(steps, step)
  const { ms } = steps[step] ?? { ms: 0 }
  const came = arrivals.filter((arrival) => arrival.step === step)
  const answered = arrivals.filter(({ settled }) => settled >= from && settled < from + ms)
  const these = (outcome: Outcome) => came.filter((arrival) => arrival.outcome === outcome)
  const latenciesOn = (onNew: boolean) =>
    came.filter((arrival) => arrival.outcome !== 'not sent' && arrival.onNew === onNew).map(latencyOf)
  const rateOf = (outcome: Outcome) => (answered.filter((arrival) => arrival.outcome === outcome).length * 1000) / ms
  const acceptedInSeconds = Array.from({ length: Math.ceil(ms / 1000) }, () => 0)
  for (const { outcome, settled } of answered) {
    const second = Math.floor((settled - from) / 1000)
    if (outcome === 'accepted') acceptedInSeconds[second] = (acceptedInSeconds[second] ?? 0) + 1
  }
  return {
    offered: (came.length * 1000) / ms,
    accepted: rateOf('accepted'),
    refused: rateOf('refused'),
    other: these('other').length,
    notSent: these('not sent').length,
    acceptedMs: percentilesOf(these('accepted').map(latencyOf)),
    refusedMs: percentilesOf(these('refused').map(latencyOf)),
    onKeptMs: percentilesOf(latenciesOn(false)),
    onNewMs: percentilesOf(latenciesOn(true)),
    lateMs: percentilesOf(came.map(({ due, sent }) => sent - due)),
    acceptedInSeconds,
  }
}

const WINDOW_MS = 500
const WINDOW_STEP_MS = 50

/**
 * The time from the start of a step to recovery, in ms: from then on every request was accepted, and the p99 of the next
 * half second was within the limit. Undefined without recovery.
 */
export function recoveryOf(
  arrivals: readonly Arrival[],
  steps: readonly Step[],
  step: number,
  p99Limit: number,
): number | undefined {
  const from = startOf(steps, step)
  const { ms } = steps[step] ?? { ms: 0 }
  const came = arrivals.filter((arrival) => arrival.step === step)
  const lastFailed = came.reduce((last, { outcome, due }) => (outcome === 'accepted' ? last : Math.max(last, due)), -1)
  for (let after = 0; after + WINDOW_MS <= ms; after += WINDOW_STEP_MS) {
    const start = from + after
    if (start <= lastFailed) continue
    const window = came.filter(({ due }) => due >= start && due < start + WINDOW_MS)
    if (percentilesOf(window.map(latencyOf)).p99 <= p99Limit) return after
  }
  return undefined
}

function startOf(steps: readonly Step[], step: number): number {
  return steps.slice(0, step).reduce((sum, { ms }) => sum + ms, 0)
}

function latencyOf({ due, settled }: Arrival): number {
  return settled - due
}
