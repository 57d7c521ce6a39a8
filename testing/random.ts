/** Random choices from a seed: the same seed gives the same choices in the same order. */
export interface Random {
  /** From 0, below 1. */
  fraction(): number
  /** From `least` to `most`, both included. */
  whole(least: number, most: number): number
  /** Whether something with this probability happens. */
  chance(probability: number): boolean
  oneOf<T>(first: T, ...others: T[]): T
  shuffled<T>(things: readonly T[]): T[]
}

/** @param purpose each purpose has a sequence of its own, which the others do not use up */
export function randomOf(seed: number, purpose: string): Random {
  let state = hashOf(`${seed} ${purpose}`)

  /** mulberry32. */
  function fraction(): number {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), 1 | state)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }

  const whole = (least: number, most: number) => least + Math.floor(fraction() * (most - least + 1))
  return {
    fraction,
    whole,
    chance: (probability) => fraction() < probability,
    oneOf: (first, ...others) => others[whole(-1, others.length - 1)] ?? first,
    shuffled(things) {
      const keyed = things.map((thing) => ({ thing, at: fraction() }))
      return keyed.sort((a, b) => a.at - b.at).map(({ thing }) => thing)
    },
  }
}

/** FNV-1a, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash
}
