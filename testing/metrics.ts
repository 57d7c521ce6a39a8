import { expect } from 'vitest'
import { until } from './programs.ts'

/** One value of a scrape. */
export interface ScrapedSample {
  name: string
  labels: Record<string, string>
  value: number
}

export interface Scrape {
  status: number
  headers: Headers
  text: string
  samples: ScrapedSample[]
}

/** @param headers default: those of a person who looks */
export async function scrape(base: string, headers: Record<string, string> = {}): Promise<Scrape> {
  const response = await fetch(`${base}/metrics`, { headers })
  const text = await response.text()
  return { status: response.status, headers: response.headers, text, samples: response.ok ? samplesIn(text) : [] }
}

const SAMPLE = /^([a-z_][a-z0-9_]*)(?:\{(.*)\})? (\S+)$/
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g

/** The samples of a page. Every line must be one, a comment, or empty. */
export function samplesIn(text: string): ScrapedSample[] {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return lines.map((line) => {
    const [, name = '', labels = '', value = ''] = SAMPLE.exec(line) ?? []
    expect({ line, value: Number(value) }).toEqual({ line, value: expect.any(Number) })
    return {
      name,
      labels: Object.fromEntries([...labels.matchAll(LABEL)].map(([, k, v]) => [k, v])),
      value: Number(value),
    }
  })
}

/** The sum of all samples of a name that have these labels; undefined when there is none. */
export function valueIn({ samples }: Scrape, name: string, labels: Record<string, string> = {}): number | undefined {
  const fits = (own: Record<string, string>) => Object.entries(labels).every(([key, value]) => own[key] === value)
  const found = samples.filter((sample) => sample.name === name && fits(sample.labels))
  return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0)
}

/** The families that have a sample, without what the samples of histograms and OpenMetrics' counters end with. */
export function familiesIn({ text, samples }: Scrape): string[] {
  const names = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name ?? '')
  const suffixes = ['', '_count', '_total']
  return names.filter((family) => samples.some(({ name }) => suffixes.some((end) => name === family + end))).sort()
}

/** Scrapes until a value fits. */
export function untilValue(
  base: string,
  name: string,
  fits: (value: number | undefined) => boolean,
  labels: Record<string, string> = {},
): Promise<Scrape> {
  let last: number | undefined
  return until(
    async () => {
      const page = await scrape(base)
      last = valueIn(page, name, labels)
      return fits(last) ? page : undefined
    },
    () => `${name} ${JSON.stringify(labels)} is ${last}`,
  )
}
