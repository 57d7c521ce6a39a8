import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { createBell } from './bell.ts'

beforeEach(() => vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => vi.useRealTimers())

/** Whether a promise is fulfilled by now. */
async function isOver(waiting: Promise<void>): Promise<boolean> {
  let over = false
  waiting.then(() => {
    over = true
  })
  await nextTurn()
  await nextTurn()
  return over
}

it('when nothing rings, then it waits so long', async () => {
  const waiting = createBell().wait(1_000)
  await vi.advanceTimersByTimeAsync(999)
  expect(await isOver(waiting)).toBe(false)
  await vi.advanceTimersByTimeAsync(1)
  expect(await isOver(waiting)).toBe(true)
})

it('when it rings, then the wait is over, and leaves no timer', async () => {
  const bell = createBell()
  const waiting = bell.wait(1_000)
  bell.ring()
  bell.ring()
  expect(await isOver(waiting)).toBe(true)
  expect(vi.getTimerCount()).toBe(0)
  expect(await isOver(bell.wait(1_000))).toBe(false)
})

it('when it rang while nobody waited, then the next wait is over at once', async () => {
  const bell = createBell()
  bell.ring()
  expect(await isOver(bell.wait(1_000))).toBe(true)
  expect(await isOver(bell.wait(1_000))).toBe(false)
})

it('when it rings again and again, then others still get their turn', async () => {
  const bell = createBell()
  let turns = 0
  setImmediate(() => turns++)
  for (let i = 0; i < 2; i++) {
    bell.ring()
    await bell.wait(1_000)
  }
  expect(turns).toBe(1)
})
