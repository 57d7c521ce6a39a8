import { PoolExhausted } from './errors.ts'

/** Gives a slot back. */
export type GiveBack = () => void

export interface Slots {
  /**
   * Takes a slot, after those that asked earlier.
   * @param until when to give up, by `performance.now()`
   * @throws PoolExhausted when none became free by then
   */
  take(until: number): Promise<GiveBack>
  /** How many are lent. */
  inUse(): number
}

/** Lends at most `count` slots at once. Others wait in the order of their arrival. */
export function createSlots(count: number): Slots {
  let free = count
  const waiting = new Set<(giveBack: GiveBack) => void>()

  function lend(): GiveBack {
    let lent = true
    return () => {
      if (lent) pass()
      lent = false
    }
  }

  function pass(): void {
    const [next] = waiting
    if (next === undefined) free++
    else {
      waiting.delete(next)
      next(lend())
    }
  }

  return {
    async take(until) {
      if (free === 0) return wait(until)
      free--
      return lend()
    },
    inUse: () => count - free,
  }

  function wait(until: number): Promise<GiveBack> {
    return new Promise((resolve, reject) => {
      const get = (giveBack: GiveBack) => {
        clearTimeout(timer)
        resolve(giveBack)
      }
      const timer = atTime(until, () => {
        waiting.delete(get)
        reject(new PoolExhausted('no connection became free in time'))
      })
      waiting.add(get)
    })
  }
}

/** The result of the work. A result that comes too late goes to `late`. @throws PoolExhausted when none came in time */
export function untilTime<T>(until: number, work: Promise<T>, late: (result: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    let over = false
    const timer = atTime(until, () => {
      over = true
      reject(new PoolExhausted('no connection could be used in time'))
    })
    work.then((result) => (over ? late(result) : resolve(result)), reject).finally(() => clearTimeout(timer))
  })
}

function atTime(until: number, work: () => void): NodeJS.Timeout | undefined {
  return until === Number.POSITIVE_INFINITY ? undefined : setTimeout(work, Math.max(0, until - performance.now()))
}
