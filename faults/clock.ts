/** A caller's clock, by which it decides that an answer is late. It may jump, as clocks do. */
export class JumpyClock {
  #offsetMs = 0
  readonly #waiting = new Set<() => void>()

  now(): number {
    return Date.now() + this.#offsetMs
  }

  /** Whatever is due by the new time is late at once; set back, everything takes longer to be. */
  jump(byMs: number): void {
    this.#offsetMs += byMs
    for (const look of [...this.#waiting]) look()
  }

  /** Calls when so much time has passed by this clock, but never later than `atMostMs` by the true one. */
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
