/** Members that change with every change, so that they say nothing about it. */
const ALWAYS = new Set(['version', 'updated_at'])

/** The old values of the members that a change gave other values. */
export function changedFrom<T extends object>(before: T, after: T): Partial<T> {
  const changed: Partial<T> = {}
  for (const name in before) {
    if (!ALWAYS.has(name) && differ(before[name], after[name])) changed[name] = before[name]
  }
  return changed
}

function differ(a: unknown, b: unknown): boolean {
  if (a === b) return false
  return typeof a !== 'object' || typeof b !== 'object' || JSON.stringify(a) !== JSON.stringify(b)
}
