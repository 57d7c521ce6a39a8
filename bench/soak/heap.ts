import { writeFileSync } from 'node:fs'
import { getHeapStatistics } from 'node:v8'

// Preloaded into a program: writes its heap use to a file in its folder.

const EVERY_MS = 100
const LOOKS_BACK = 100
const LOOKS_PER_WRITE = 10

const recent: number[] = []
let looks = 0

setInterval(() => {
  recent.push(getHeapStatistics().used_heap_size)
  if (recent.length > LOOKS_BACK) recent.shift()
  // The minimum of the last ten seconds is close to the heap without garbage.
  if (++looks % LOOKS_PER_WRITE === 0) writeFileSync(`heap-${process.pid}`, String(Math.min(...recent)))
}, EVERY_MS).unref()
