import { describe, expect, it } from 'vitest'
import type { Sample } from './metrics.ts'
import { createExporter } from './prometheus.ts'

const DONE = { kind: 'counter', name: 'things_done_total', help: 'Things.', labels: ['kind', 'end'] } as const
const OPEN = { kind: 'gauge', name: 'things_open', help: 'Things.', labels: [] } as const
const BY_STATE = { ...OPEN, name: 'things', labels: ['state'] } as const
const SECONDS = { kind: 'histogram', name: 'thing_seconds', help: 'Time.', labels: [], buckets: [0.1, 1] } as const
const CPU = { ...DONE, name: 'cpu_seconds_total', labels: [] } as const

const lines = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))

describe('an exporter', () => {
  it('when a counter is asked for twice, then both count in one series', async () => {
    const { metrics, expose } = createExporter()
    metrics.counter(DONE, 'small', 'good')()
    metrics.counter(DONE, 'small', 'good')(2)
    metrics.counter(DONE, 'small', 'bad')
    expect(lines(await expose('text'))).toEqual([
      'things_done_total{kind="small",end="good"} 3',
      'things_done_total{kind="small",end="bad"} 0',
    ])
  })

  it('when values are observed, then each is in the buckets at or above it', async () => {
    const { metrics, expose } = createExporter()
    const observe = metrics.histogram(SECONDS)
    for (const value of [0.1, 0.5, 7]) observe(value)
    expect(lines(await expose('text'))).toEqual([
      'thing_seconds_bucket{le="0.1"} 1',
      'thing_seconds_bucket{le="1"} 2',
      'thing_seconds_bucket{le="+Inf"} 3',
      'thing_seconds_sum 7.6',
      'thing_seconds_count 3',
    ])
  })

  it('when two read one series, then equal labels add up, and what is gone is gone', async () => {
    const { metrics, expose } = createExporter()
    let [first, second]: Sample<readonly ['state']>[][] = [
      [{ labels: ['idle'], value: 1 }],
      [
        { labels: ['idle'], value: 2 },
        { labels: ['used'], value: 5 },
      ],
    ]
    metrics.atScrape(BY_STATE, () => first ?? [])
    metrics.atScrape(BY_STATE, async () => second ?? [])
    expect(lines(await expose('text'))).toEqual(['things{state="idle"} 3', 'things{state="used"} 5'])
    ;[first, second] = [[], [{ labels: ['used'], value: 4 }]]
    expect(lines(await expose('text'))).toEqual(['things{state="used"} 4'])
  })

  it('when nobody has a value for a series without labels, then it is absent', async () => {
    const { metrics, expose } = createExporter()
    let value: number | undefined
    metrics.atScrape(OPEN, () => (value === undefined ? [] : [{ labels: [], value }]))
    expect(lines(await expose('text'))).toEqual([])
    value = 0
    expect(lines(await expose('openmetrics'))).toEqual(['things_open 0'])
    value = undefined
    expect(lines(await expose('text'))).toEqual([])
  })

  it('when it is read in turn in both formats, then each stays as it is', async () => {
    const { metrics, expose } = createExporter()
    metrics.counter(DONE, 'small', 'good')()
    metrics.atScrape(CPU, () => [{ labels: [], value: 1.5 }])
    const first = { text: await expose('text'), openmetrics: await expose('openmetrics') }
    expect({ text: await expose('text'), openmetrics: await expose('openmetrics') }).toEqual(first)
    expect(first.text).toContain('# TYPE things_done_total counter\n')
    expect(first.openmetrics).toContain('# TYPE things_done counter\n')
    expect(lines(first.openmetrics)).toEqual(lines(first.text))
    expect(first.openmetrics).toMatch(/\n# EOF\n$/)
  })

  it('when a label has quotes, line ends and backslashes, then they are escaped', async () => {
    const { metrics, expose } = createExporter()
    metrics.counter(DONE, 'a"b\\c', 'd\ne')()
    expect(lines(await expose('text'))).toEqual(['things_done_total{kind="a\\"b\\\\c",end="d\\ne"} 1'])
  })
})
