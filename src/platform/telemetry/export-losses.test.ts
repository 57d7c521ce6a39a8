import { expect, it, onTestFinished, vi } from 'vitest'
import { createLossReport } from './export-losses.ts'
import type { Logger } from './logger.ts'

const EVERY_MS = 1_000

function lossReport() {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const lines: unknown[] = []
  const logger = { warn: (fields: unknown) => lines.push(fields) } as unknown as Logger
  return { count: createLossReport(logger, EVERY_MS), lines }
}

it('when spans are lost, then the first loss is told at once', () => {
  const { count, lines } = lossReport()
  const err = new Error('away')
  count(3, err)
  expect(lines).toEqual([{ event: 'traces_lost', spans: 3, err }])
})

it('when the collector stays away, then the losses of each pause are one line', () => {
  const { count, lines } = lossReport()
  for (let i = 0; i < 100; i++) count(1)
  expect(lines).toMatchObject([{ spans: 1 }])
  vi.advanceTimersByTime(EVERY_MS)
  expect(lines).toMatchObject([{ spans: 1 }, { spans: 99 }])
})

it('when a pause had no loss, then the next loss is told at once again', () => {
  const { count, lines } = lossReport()
  count(1)
  vi.advanceTimersByTime(EVERY_MS)
  expect(lines).toHaveLength(1)
  count(2)
  expect(lines).toMatchObject([{ spans: 1 }, { spans: 2 }])
})
