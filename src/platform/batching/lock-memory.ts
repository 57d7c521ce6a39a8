/** Remembers for a short time which rows other transactions were found to hold. */
export interface LockMemory {
  remember(rows: readonly string[]): void
  /** These rows turned out to be free. */
  forget(rows: readonly string[]): void
  isKnown(row: string): boolean
  isAnyKnown(): boolean
}

const REMEMBERED_MS = 5_000

export function createLockMemory(now = () => performance.now()): LockMemory {
  const knownUntil = new Map<string, number>()
  const isKnown = (row: string) => {
    const until = knownUntil.get(row)
    if (until !== undefined && until <= now()) knownUntil.delete(row)
    return knownUntil.has(row)
  }
  return {
    remember(rows) {
      for (const row of rows) knownUntil.set(row, now() + REMEMBERED_MS)
    },
    forget(rows) {
      if (knownUntil.size > 0) for (const row of rows) knownUntil.delete(row)
    },
    isKnown,
    isAnyKnown: () => knownUntil.size > 0 && [...knownUntil.keys()].some(isKnown),
  }
}
