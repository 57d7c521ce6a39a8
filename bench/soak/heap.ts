import { writeFileSync } from 'node:fs'
import { getHeapStatistics } from 'node:v8'

// Loaded before a program: tells how much of its heap is in use, in a file of the folder that it runs in.

const EVERY_MS = 100
const LOOKS_BACK = 100
const LOOKS_PER_WRITE = 10

const recent: number[] = []
let looks = 0

setInterval(() => {
  recent.push(getHeapStatistics().used_heap_size)
  if (recent.length > LOOKS_BACK) recent.shift()
  // The least of the last ten seconds: what is left when the garbage is gone, or nearly.
  if (++looks % LOOKS_PER_WRITE === 0) writeFileSync(`heap-${process.pid}`, String(Math.min(...recent)))
}, EVERY_MS).unref()
