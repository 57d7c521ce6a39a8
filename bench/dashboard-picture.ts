import type { Series } from '../testing/prometheus.ts'

/** What the picture needs of the file of Grafana. */
export interface Dashboard {
  title: string
  panels: readonly DashboardPanel[]
}

export interface DashboardPanel {
  type: string
  title: string
  gridPos: { x: number; y: number; w: number; h: number }
  targets?: readonly { expr: string; legendFormat: string }[]
  fieldConfig?: {
    defaults: { unit: string; thresholds: { steps: readonly { color: string; value: number | null }[] } }
  }
}

/** What Prometheus said over the time of the run, by expression. */
export type Figures = ReadonlyMap<string, readonly Series[]>

/** In seconds since 1970. */
export interface TimeSpan {
  start: number
  end: number
}

const COLUMN = 50
const UNIT = 20
const GAP = 4
const HEAD = 56
const COLOURS = ['#3fb950', '#d29922', '#4493f8', '#db6d28', '#f85149', '#a371f7', '#39c5cf', '#8c959f']
const MAX_LEGENDS = 6
const CHARACTER_PX = 6.3

/** Draws the dashboard as SVG text: each panel where its file has it, with these figures. */
export function pictureOf({ title, panels }: Dashboard, figures: Figures, span: TimeSpan, foot: string): string {
  const height = HEAD + UNIT * Math.max(...panels.map(({ gridPos: { y, h } }) => y + h)) + 28
  const width = 24 * COLUMN
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title desc">
<title id="title">${inXml(title)}</title>
<desc id="desc">${inXml(panels.map((panel) => panel.title).join('. '))}.</desc>
<style>
text { font: 11px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #d0d7de }
.head { font-size: 18px; font-weight: 600 }
.row { font-size: 13px; font-weight: 600 }
.panel { font-weight: 600 }
.quiet { fill: #9198a1 }
.value { font-size: 22px; font-weight: 600; text-anchor: middle }
.ground { fill: #0d1117 }
.card { fill: #161b22; stroke: #30363d }
.green { fill: #1a7f37 }
.orange { fill: #9e6a03 }
.red { fill: #b62324 }
.grid { stroke: #30363d }
.limit { stroke: #f85149; stroke-dasharray: 4 3 }
.limit.orange { stroke: #d29922 }
.line { fill: none; stroke-width: 1.2 }
</style>
<rect class="ground" width="${width}" height="${height}"/>
<text class="head" x="12" y="34">${inXml(title)}</text>
${panels.map((panel) => drawPanel(panel, figures, span)).join('\n')}
<text class="quiet" x="12" y="${height - 10}">${inXml(foot)}</text>
</svg>
`
}

interface Box {
  x: number
  y: number
  width: number
  height: number
}

function drawPanel(panel: DashboardPanel, figures: Figures, span: TimeSpan): string {
  const { x, y, w, h } = panel.gridPos
  const box = { x: x * COLUMN + GAP, y: HEAD + y * UNIT + GAP, width: w * COLUMN - 2 * GAP, height: h * UNIT - 2 * GAP }
  if (panel.type === 'row') return text('row', box.x + 4, box.y + 10, panel.title)
  const card = `<rect class="card" x="${box.x}" y="${box.y}" width="${box.width}" height="${box.height}" rx="3"/>`
  return panel.type === 'stat' ? drawStat(panel, box, figures, card) : drawLines(panel, box, figures, span, card)
}

function drawStat(panel: DashboardPanel, box: Box, figures: Figures, card: string): string {
  const value = Number(seriesOf(panel, figures)[0]?.series.values.at(-1)?.[1] ?? Number.NaN)
  const colour = colourAt(panel, value)
  const { x, y, width, height } = box
  const ground = Number.isNaN(value) ? card : card.replace('class="card"', `class="card ${colour}"`)
  const said = Number.isNaN(value) ? 'no data' : inUnit(value, unitOf(panel))
  return [ground, text('panel', x + 8, y + 16, panel.title), text('value', x + width / 2, y + height - 18, said)].join(
    '\n',
  )
}

interface NamedSeries {
  name: string
  series: Series
}

function seriesOf({ targets = [] }: DashboardPanel, figures: Figures): NamedSeries[] {
  return targets.flatMap(({ expr, legendFormat }) =>
    (figures.get(expr) ?? []).map((series) => ({ name: nameOf(series, legendFormat), series })),
  )
}

function nameOf({ metric }: Series, legend: string): string {
  return legend.replace(/\{\{(\w+)\}\}/g, (_, label) => metric[label] ?? '')
}

function colourAt({ fieldConfig }: DashboardPanel, value: number): string {
  const steps = fieldConfig?.defaults.thresholds.steps ?? []
  return steps.findLast((step) => step.value === null || value >= step.value)?.color ?? 'green'
}

function unitOf({ fieldConfig }: DashboardPanel): string {
  return fieldConfig?.defaults.unit ?? 'none'
}

const AXIS = 58
const TITLE = 24
const LEGEND = 20

function drawLines(panel: DashboardPanel, box: Box, figures: Figures, span: TimeSpan, card: string): string {
  const all = seriesOf(panel, figures)
  const values = all.flatMap(({ series }) => series.values.map(([, value]) => Number(value))).filter(Number.isFinite)
  const most = ceilingOf(Math.max(0, ...values), unitOf(panel))
  const plot = {
    x: box.x + AXIS,
    y: box.y + TITLE,
    width: box.width - AXIS - 8,
    height: box.height - TITLE - LEGEND,
  }
  return [
    card,
    text('panel', box.x + 8, box.y + 16, panel.title),
    ...drawAxis(plot, most, unitOf(panel)),
    ...drawLimits(panel, plot, most),
    ...all.map(({ series }, i) => drawLine(series, plot, span, most, COLOURS[i % COLOURS.length] ?? '')),
    values.length === 0 ? text('quiet', plot.x + plot.width / 2 - 20, plot.y + plot.height / 2, 'no data') : '',
    ...drawLegend(all, box),
  ].join('\n')
}

const BYTES_PER_MIB = 1024 * 1024

/** The next value that is 1, 2 or 5 times a power of ten in its unit. */
function ceilingOf(value: number, unit: string): number {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value / sizeOf(unit))) * sizeOf(unit)
  return power * ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10)
}

function sizeOf(unit: string): number {
  return unit === 'bytes' ? BYTES_PER_MIB : 1
}

function drawAxis({ x, y, width, height }: Box, most: number, unit: string): string[] {
  return [0, 0.5, 1].flatMap((share) => {
    const at = Math.round(y + height * (1 - share))
    const said = inXml(inUnit(most * share, unit))
    return [
      `<line class="grid" x1="${x}" x2="${x + width}" y1="${at}" y2="${at}"/>`,
      `<text class="quiet" x="${x - 6}" y="${at + 4}" text-anchor="end">${said}</text>`,
    ]
  })
}

/** Limits above the highest value are left out, as they would flatten the lines. */
function drawLimits({ fieldConfig }: DashboardPanel, { x, y, width, height }: Box, most: number): string[] {
  const steps = fieldConfig?.defaults.thresholds.steps ?? []
  return steps.flatMap(({ value, color }) => {
    if (value === null || value > most) return []
    const at = Math.round(y + height * (1 - value / most))
    return [`<line class="limit ${color}" x1="${x}" x2="${x + width}" y1="${at}" y2="${at}"/>`]
  })
}

function drawLine(
  { values }: Series,
  { x, y, width, height }: Box,
  { start, end }: TimeSpan,
  most: number,
  colour: string,
) {
  let drawing = false
  const path = values.map(([at, value]) => {
    const known = Number.isFinite(Number(value))
    const command = drawing && known ? 'L' : 'M'
    drawing = known
    if (!known) return ''
    const left = Math.round(x + (width * (at - start)) / (end - start))
    return `${command}${left} ${(y + height * (1 - Number(value) / most)).toFixed(1)}`
  })
  return `<path class="line" stroke="${colour}" d="${path.join('')}"/>`
}

/** As many names as fit into a line. */
function drawLegend(all: readonly NamedSeries[], box: Box): string[] {
  let x = box.x + 10
  return all.slice(0, MAX_LEGENDS).flatMap(({ name }, i) => {
    const left = x
    x += 22 + name.length * CHARACTER_PX
    if (x > box.x + box.width) return []
    const y = box.y + box.height - 8
    const mark = `<rect x="${left}" y="${y - 6}" width="10" height="3" fill="${COLOURS[i % COLOURS.length]}"/>`
    return [mark, text('quiet', left + 14, y, name)]
  })
}

/** A value as Grafana would show it, more or less. */
function inUnit(value: number, unit: string): string {
  if (unit === 'percentunit') return `${number(value * 100)} %`
  if (unit === 'bytes') return `${number(value / BYTES_PER_MIB)} MiB`
  if (unit === 's') return value > 0 && value < 1 ? `${number(value * 1_000)} ms` : `${number(value)} s`
  return unit === 'reqps' || unit === 'ops' ? `${number(value)}/s` : number(value)
}

function number(value: number): string {
  return String(Number(value.toPrecision(3)))
}

function text(kind: string, x: number, y: number, said: string): string {
  return `<text class="${kind}" x="${Math.round(x)}" y="${Math.round(y)}">${inXml(said)}</text>`
}

function inXml(said: string): string {
  return said.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}
