/** The clock by which a caller decides that a response is late. It can jump, as real clocks do. */
export class SkewedClock {
  #offsetMs = 0
  readonly #waiting = new Set<() => void>()

  now(): number {
    return Date.now() + this.#offsetMs
  }

  /** Timers that are due by the new time fire at once; after a jump back, all timers take longer. */
  jump(byMs: number): void {
    this.#offsetMs += byMs
    for (const look of [...this.#waiting]) look()
  }

  /** Calls `late` after this time by this clock, at the latest after `atMostMs` of real time. @returns cancels */
  after(ms: number, atMostMs: number, late: () => void): () => void {
    const due = this.now() + ms
    const last = Date.now() + atMostMs
    let timer: NodeJS.Timeout | undefined
    const stop = () => {
      clearTimeout(timer)
      this.#waiting.delete(look)
    }
    const look = () => {
      clearTimeout(timer)
      const left = Math.min(due - this.now(), last - Date.now())
      if (left > 0) timer = setTimeout(look, left)
      else {
        stop()
        late()
      }
    }
    this.#waiting.add(look)
    look()
    return stop
  }
}
