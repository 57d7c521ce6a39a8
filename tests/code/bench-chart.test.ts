import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Charted, chartOf } from '../../bench/chart.ts'
import { resultsFile } from '../../bench/report.ts'
import { ROOT, runProgram } from '../../testing/programs.ts'

const machine = { node: 'v24', database: '<10.11> & more', flushAtCommit: '1', cpus: '2 × "fast"' }

function resultsOf(...figures: [workload: string, system: string, perSecond: number][]): Charted {
  const rows = figures.map(([workload, system, perSecond]) => ({ workload, system, perSecond, connections: 64 }))
  return { machine, rows }
}

/** The unclosed elements, and any markup in the wrong position. */
function faultsOf(svg: string): string[] {
  const open: string[] = []
  const faults: string[] = []
  const rest = svg.replace(/<(\/?)(\w+)((?: [\w:-]+="[^"<]*")*)(\/?)>/g, (_, closing, name, __, empty) => {
    if (closing === '/') {
      if (open.pop() !== name) faults.push(`</${name}>`)
    } else if (empty !== '/') open.push(name)
    return ''
  })
  return [...faults, ...open, ...(rest.match(/<|&(?!#\d+;)/g) ?? [])]
}

describe('the chart of the benchmark', () => {
  const results = resultsOf(
    ['order', 'baseline', 200],
    ['order', 'services', 1_700.4],
    ['order', 'one process', 3_100],
    ['order', 'bare, one transaction a step', 800],
    ['hot', 'baseline', 100],
    ['hot', 'one process', 2_050],
    ['read', 'one process', 99_999],
  )

  it('when there are results, then it is well-formed and has its title', () => {
    const svg = chartOf(results)
    expect(faultsOf(svg)).toEqual([])
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" /)
    expect(svg).toContain('<title id="title">Orders a second, created and confirmed</title>')
  })

  it('when there is a baseline, then each other bar has its value and its ratio', () => {
    const svg = chartOf(results)
    for (const label of ['>200<', '>1,700 · ×8.5<', '>3,100 · ×16<', '>800 · ×4.0<', '>2,050 · ×21<']) {
      expect(svg).toContain(label)
    }
    expect(svg).not.toContain('99,999')
  })

  it('when the baseline is missing or its books count as zero, then only values show', () => {
    expect(chartOf(resultsOf(['order', 'services', 1_700]))).toContain('>1,700<')
    expect(chartOf(resultsOf(['order', 'services', 1_700], ['order', 'baseline', 0]))).toContain('>1,700<')
  })

  it('when nothing was measured with 64 connections, then it says so', () => {
    expect(() => chartOf(resultsOf(['read', 'services', 1]))).toThrow('64 connections')
  })
})

describe('the figures of a benchmark', () => {
  const committed = readdirSync(join(ROOT, 'bench/results')).filter((file) => !file.endsWith('-narrowed.json'))

  it.each(committed)('when a run of %s is narrowed by an option, then they stay unchanged', (file) => {
    const name = file.replace('.json', '')
    expect(resultsFile(name, {})).toBe(`bench/results/${file}`)
    for (const options of [{ quick: true }, { rounds: '3' }]) {
      expect(resultsFile(name, options)).toBe(`bench/results/${name}-narrowed.json`)
    }
  })

  it('when a benchmark writes figures, then its options name each file', () => {
    const sources = readdirSync(join(ROOT, 'bench'), { recursive: true, encoding: 'utf8' })
    const named = sources.filter(
      (file) =>
        file.endsWith('.ts') && /bench\/results\/\S*\.json/.test(readFileSync(join(ROOT, 'bench', file), 'utf8')),
    )
    expect(named.sort()).toEqual(['chart.ts'])
  })

  it('when a chart has other figures, then it replaces the README’s only on request', async () => {
    const { code, stderr } = await runProgram('bench:chart', {}, ['--from', 'bench/results/load-narrowed.json'])
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringMatching(/^--to is needed with --from\./) })
  })
})
