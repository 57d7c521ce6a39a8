import type { Database } from './types.ts'

const LISTENERS = new WeakMap<Database, Set<() => void>>()

/** Calls a listener after each commit that this process makes. @returns ends that */
export function onCommit(db: Database, listener: () => void): () => void {
  const listeners = LISTENERS.get(db) ?? new Set()
  LISTENERS.set(db, listeners.add(listener))
  return () => void listeners.delete(listener)
}

export function tellCommitted(db: Database): void {
  for (const listener of LISTENERS.get(db) ?? []) listener()
}
