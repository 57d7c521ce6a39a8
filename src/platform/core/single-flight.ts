import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Callers that ask for one key at one moment share one call.
 * @param maxAgeMs how long after it began a call may still be joined: its answer can be so much older than the question
 */
export function createSingleFlight<K, R>(maxAgeMs: number, now = () => performance.now()) {
  const flights = new Map<K, { began: number; result: Promise<R> }>()

  function begin(key: K, call: () => Promise<R>): Promise<R> {
    const forget = () => {
      if (flights.get(key) === flight) flights.delete(key)
    }
    const flight = { began: now(), result: call() }
    flights.set(key, flight)
    flight.result.then(forget, forget)
    return flight.result
  }

  /** @returns `joined` is true where an earlier caller's call is shared */
  return (key: K, call: () => Promise<R>): { joined: boolean; result: Promise<R> } => {
    const flight = flights.get(key)
    const joined = flight !== undefined && now() - flight.began <= maxAgeMs
    return joined ? { joined, result: flight.result } : { joined, result: begin(key, call) }
  }
}

/**
 * Reads that are asked for with the same words in one turn of the event loop are made once. A read begins after all of them
 * were asked for, so none is answered with what was before its own question.
 */
export function createSharedReads<Q, R>(read: (question: Q) => Promise<R>): (question: Q) => Promise<R> {
  const gathered = new Map<string, Promise<R>>()
  return (question) => {
    const words = JSON.stringify(question)
    const shared = gathered.get(words)
    if (shared) return shared
    const result = nextTurn().then(() => {
      gathered.delete(words)
      return read(question)
    })
    gathered.set(words, result)
    return result
  }
}
