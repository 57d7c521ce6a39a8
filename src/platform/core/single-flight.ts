import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Callers that ask for one key at one moment share one call.
 * @param maxAgeMs how long after its start a call may be joined: a result may be this much older than the question
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

  /** @returns `joined` is true when an earlier caller's call is shared */
  return (key: K, call: () => Promise<R>): { joined: boolean; result: Promise<R> } => {
    const flight = flights.get(key)
    const joined = flight !== undefined && now() - flight.began <= maxAgeMs
    return joined ? { joined, result: flight.result } : { joined, result: begin(key, call) }
  }
}

/**
 * Equal reads of one turn of the event loop are done once. The read begins after all of them were asked for, so no caller
 * gets a state from before its own question.
 */
export function createSharedReads<Q, R>(read: (query: Q) => Promise<R>): (query: Q) => Promise<R> {
  const gathered = new Map<string, Promise<R>>()
  return (query) => {
    const text = JSON.stringify(query)
    const shared = gathered.get(text)
    if (shared) return shared
    const result = nextTurn().then(() => {
      gathered.delete(text)
      return read(query)
    })
    gathered.set(text, result)
    return result
  }
}
