import { unsafeCast } from '../core/unsafe-cast.ts'

/** Members that change with every change, so that they say nothing about it. */
const ALWAYS = new Set(['version', 'updated_at'])

/** The old values of the members that a change gave other values. */
export function changedFrom<T extends object>(before: T, after: T): Partial<T> {
  const now = new Map<string, unknown>(Object.entries(after))
  const isChanged = ([name, value]: [string, unknown]) =>
    !ALWAYS.has(name) && JSON.stringify(value) !== JSON.stringify(now.get(name))
  return unsafeCast<Partial<T>>(Object.fromEntries(Object.entries(before).filter(isChanged)))
}
