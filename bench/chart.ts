import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createProgram } from '../scripts/program.ts'
import { BASELINE, type Results, type Row, resultsFile } from './report.ts'

const HELP = `The chart of the README from the figures of npm run bench: orders a second, created and confirmed.

  npm run bench:chart -- [--from bench/results/load.json --to docs/performance.svg]

  --from  the figures; absent, those of the last whole run
  --to    the chart; needed with --from, so that no other figures become the README's by accident`

const CHART = 'docs/performance.svg'
const CONNECTIONS = 64

/** In the order of the chart, with the names in the README. */
const BARS = [
  { system: BASELINE, label: 'the stack it replaces', kind: 'other' },
  { system: 'services', label: 'three services', kind: 'ours' },
  { system: 'one process', label: 'one process', kind: 'ours' },
  { system: 'one process, SQLite', label: 'one process, SQLite', kind: 'ours' },
  { system: 'bare, one transaction a step', label: 'bare SQL, two transactions', kind: 'limit' },
  { system: 'bare, one transaction', label: 'bare SQL, one transaction', kind: 'limit' },
] as const

const PANELS = [
  { workload: 'order', title: 'Two lines, of 1,000 products' },
  { workload: 'hot', title: 'All of one product' },
] as const

type Figure = Pick<Row, 'workload' | 'connections' | 'system' | 'perSecond'>
export type Charted = Pick<Results, 'machine'> & { rows: readonly Figure[] }

interface Bar {
  label: string
  kind: (typeof BARS)[number]['kind']
  perSecond: number
  /** To the baseline; undefined for the baseline itself and without one. */
  ratio: number | undefined
}

interface Panel {
  title: string
  bars: Bar[]
}

const WIDTH = 760
const LEFT = 210
const RIGHT = 110
const HEAD = 62
const TITLE = 30
const STEP = 26
const THICKNESS = 18
const GAP = 14
const FOOT = 26

/**
 * The chart as SVG text, with colours for light and dark backgrounds.
 * @throws Error when there is nothing to show
 */
export function chartOf({ machine, rows }: Charted): string {
  const panels = PANELS.map((panel) => panelOf(panel, rows)).filter(({ bars }) => bars.length > 0)
  if (panels.length === 0) throw new Error(`no orders with ${CONNECTIONS} connections in these results`)
  const most = Math.max(1, ...panels.flatMap(({ bars }) => bars.map(({ perSecond }) => perSecond)))
  const drawn: string[] = []
  let y = HEAD
  for (const panel of panels) {
    drawn.push(drawPanel(panel, y, most))
    y += heightOf(panel)
  }
  const { database, node, cpus } = machine
  const foot = `${CONNECTIONS} connections, × to the stack it replaces. ${database}, durable commits; Node ${node}; ${cpus}.`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + FOOT}" width="${WIDTH}" height="${y + FOOT}" role="img" aria-labelledby="title desc">
<title id="title">Orders a second, created and confirmed</title>
<desc id="desc">${inXml(panels.map(inWords).join(' '))}</desc>
<style>
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
.head { font-size: 17px; font-weight: 600 }
.panel { font-weight: 600 }
.quiet { fill: #59636e }
.small { font-size: 11px }
.other { fill: #8c959f }
.ours { fill: #0969da }
.limit { fill: none; stroke: #8c959f; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .quiet { fill: #9198a1 }
  .other { fill: #656c76 }
  .ours { fill: #4493f8 }
  .limit { stroke: #9198a1 }
}
</style>
<text class="head" x="16" y="28">Orders a second, created and confirmed</text>
<text class="quiet" x="16" y="48">Each on the disk when it is answered. More is better.</text>
${drawn.join('\n')}
<text class="quiet small" x="16" y="${y + 10}">${inXml(foot)}</text>
</svg>
`
}

function panelOf({ workload, title }: (typeof PANELS)[number], rows: readonly Figure[]): Panel {
  const of = (name: string) =>
    rows.find((row) => row.workload === workload && row.connections === CONNECTIONS && row.system === name)
  const baseline = of(BASELINE)
  const bars = BARS.flatMap(({ system, label, kind }) => {
    const row = of(system)
    if (row === undefined) return []
    const compared = row !== baseline && baseline !== undefined && baseline.perSecond > 0
    const ratio = compared ? row.perSecond / baseline.perSecond : undefined
    return [{ label, kind, perSecond: row.perSecond, ratio }]
  })
  return { title, bars }
}

function heightOf({ bars }: Panel): number {
  return TITLE + bars.length * STEP + GAP
}

function drawPanel({ title, bars }: Panel, top: number, most: number): string {
  const drawn = bars.map((bar, i) => drawBar(bar, top + TITLE + i * STEP, most))
  return [`<text class="panel" x="16" y="${top + 18}">${inXml(title)}</text>`, ...drawn].join('\n')
}

function drawBar(bar: Bar, top: number, most: number): string {
  const { label, kind, perSecond } = bar
  const width = Math.max(1, Math.round((perSecond / most) * (WIDTH - LEFT - RIGHT)))
  const middle = top + 13
  return [
    `<text class="quiet" x="${LEFT - 10}" y="${middle}" text-anchor="end">${inXml(label)}</text>`,
    `<rect class="${kind}" x="${LEFT}" y="${top}" width="${width}" height="${THICKNESS}" rx="3"/>`,
    `<text x="${LEFT + width + 8}" y="${middle}">${inXml(saidOf(bar))}</text>`,
  ].join('\n')
}

function saidOf({ perSecond, ratio }: Bar): string {
  const value = Math.round(perSecond).toLocaleString('en')
  return ratio === undefined ? value : `${value} · ×${ratio < 10 ? ratio.toFixed(1) : Math.round(ratio)}`
}

function inWords({ title, bars }: Panel): string {
  return `${title}: ${bars.map((bar) => `${bar.label} ${saidOf(bar)}`).join('; ')}.`
}

function inXml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}

if (import.meta.main) {
  const { fail, readOptions } = createProgram(HELP)
  process.chdir(fileURLToPath(new URL('..', import.meta.url)))
  const { help, from, to } = readOptions({ from: { type: 'string' }, to: { type: 'string' } })
  if (help) console.log(HELP)
  else if (from !== undefined && to === undefined) fail('--to is needed with --from.')
  else draw(from ?? resultsFile('load', {}), to ?? CHART)
}

function draw(from: string, to: string): void {
  const results: Charted = JSON.parse(readFileSync(from, 'utf8'))
  writeFileSync(to, chartOf(results))
  console.log(`Written to ${to}.`)
}
