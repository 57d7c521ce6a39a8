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
