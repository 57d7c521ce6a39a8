import { setImmediate as nextTurn } from 'node:timers/promises'

export interface Bell {
  ring(): void
  /**
   * Waits until it rings, or so long. A ring while nobody waits ends the next wait at once. One may wait at a time. Other work
   * of the process gets its turn in any case: on SQLite, nothing else would give it one.
   */
  wait(ms: number): Promise<void>
}

export function createBell(): Bell {
  let hasRung = false
  let wake = () => {}
  return {
    ring() {
      hasRung = true
      wake()
    },
    async wait(ms) {
      await (hasRung ? nextTurn() : pause(ms))
      hasRung = false
    },
  }

  function pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(end, ms)
      wake = end
    })
  }
}
