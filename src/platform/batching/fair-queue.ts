export interface FairQueue<T> {
  readonly size: number
  /** How many items of this share wait. */
  sizeOf(share: string): number
  add(share: string, item: T): void
  /** Removes the items of the next batch: one of each share in turn, in the order in which they were added. */
  take(): T[]
}

export interface FairQueueLimits<T> {
  /** Items that one batch may hold. */
  maxItems: number
  /** What the items of one batch may weigh together. A single item may weigh more. */
  maxWeight: number
  weightOf(item: T): number
}

/**
 * A queue whose batches take the shares in turn, so that a share with many items makes only its own items wait.
 * Within a share, the first to come is the first to go.
 */
export function createFairQueue<T>({ maxItems, maxWeight, weightOf }: FairQueueLimits<T>): FairQueue<T> {
  /** The share that is next comes first. */
  const shares = new Map<string, { item: T; arrival: number }[]>()
  let size = 0
  let added = 0

  function takeFirst(share: string, items: { item: T; arrival: number }[]): void {
    items.shift()
    size--
    shares.delete(share)
    if (items.length > 0) shares.set(share, items)
  }

  return {
    get size() {
      return size
    },
    sizeOf: (share) => shares.get(share)?.length ?? 0,
    add(share, item) {
      const items = shares.get(share)
      const entry = { item, arrival: added++ }
      if (items) items.push(entry)
      else shares.set(share, [entry])
      size++
    },
    take() {
      const taken: { item: T; arrival: number }[] = []
      let weight = 0
      for (const [share, items] of shares) {
        const [first] = items
        if (first === undefined || taken.length >= maxItems) break
        weight += weightOf(first.item)
        if (taken.length > 0 && weight > maxWeight) break
        taken.push(first)
        // The share is visited again: iterating a Map includes entries that are set during the loop.
        takeFirst(share, items)
      }
      return taken.sort((a, b) => a.arrival - b.arrival).map(({ item }) => item)
    },
  }
}
