import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { stringify } from 'yaml'
import { type Dashboard, type DashboardPanel, pictureOf } from '../../bench/dashboard-picture.ts'
import { dashboardText } from '../../scripts/dashboard-text.ts'
import { promtool, runsPrometheus } from '../../testing/prometheus.ts'

const FILE = 'ops/grafana/b2b-orders.json'
const TEXT = readFileSync(FILE, 'utf8')
const DASHBOARD: Dashboard = JSON.parse(TEXT)
const PICTURE = readFileSync('docs/dashboard.svg', 'utf8')
const DATASOURCE = { type: 'prometheus', uid: '$datasource' }

describe('the dashboard', () => {
  it('when its panels change, then npm run dashboard has written its file', () => {
    expect(TEXT).toBe(dashboardText())
  })

  it('when it is imported, then it asks for a Prometheus and uses no other', () => {
    expect(JSON.parse(TEXT).templating.list).toContainEqual(
      expect.objectContaining({ name: 'datasource', type: 'datasource', query: 'prometheus' }),
    )
    const used = [...TEXT.matchAll(/"datasource": (\{[^}]*\})/g)].map(([, text = '']) => JSON.parse(text))
    expect(used.length).toBeGreaterThan(DASHBOARD.panels.length)
    for (const datasource of used) expect(datasource).toEqual(DATASOURCE)
  })

  it('when its panels are placed, then they fill the width and none covers another one', () => {
    const taken = new Map<string, string>()
    for (const { title, gridPos } of DASHBOARD.panels) {
      expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24)
      for (const cell of cellsOf(gridPos)) {
        expect(taken.get(cell), `${title} at ${cell}`).toBeUndefined()
        taken.set(cell, title)
      }
    }
    const lines = Math.max(...DASHBOARD.panels.map(({ gridPos: { y, h } }) => y + h))
    expect(taken.size).toBe(24 * lines)
    const ids = JSON.parse(TEXT).panels.map(({ id }: { id: number }) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })

  it.runIf(runsPrometheus())('when its queries are read, then promtool understands each', () => {
    const exprs = DASHBOARD.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    expect(exprs.length).toBeGreaterThan(35)
    const rules = exprs.map((expr, i) => ({
      record: `panel:query_${i}`,
      expr: expr.replaceAll('$__rate_interval', '1m'),
    }))
    const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-dashboard-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'rules.yml')
    writeFileSync(file, stringify({ groups: [{ name: 'panels', rules }] }))
    const { ok, printed } = promtool(['check', 'rules', file])
    expect(ok, printed).toBe(true)
  })
})

function* cellsOf({ x, y, w, h }: DashboardPanel['gridPos']) {
  for (let column = x; column < x + w; column++) for (let line = y; line < y + h; line++) yield `${column},${line}`
}

describe('the picture of the dashboard', () => {
  const gridPos = { x: 0, y: 0, w: 8, h: 8 }
  const targets = [{ expr: 'up', legendFormat: '{{job}} <1>' }]
  const steps = [
    { color: 'green', value: null },
    { color: 'red', value: 0.5 },
  ]
  const fieldConfig = { defaults: { unit: 's', thresholds: { steps } } }
  const span = { start: 100, end: 200 }
  const series = (...values: [number, string][]) => new Map([['up', [{ metric: { job: 'a & b' }, values }]]])
  const draw = (type: string, figures: Parameters<typeof pictureOf>[1]) =>
    pictureOf(
      { title: 'Shop', panels: [{ type, title: 'Waits', gridPos, targets, fieldConfig }] },
      figures,
      span,
      'foot',
    )

  it('when a panel has lines, then they are at their values, with gaps, names and limits', () => {
    const svg = draw('timeseries', series([100, '0'], [150, 'NaN'], [200, '1']))
    expect(svg).toContain('d="M62 192.0M388 84.0"')
    expect(svg).toContain('>a &#38; b &#60;1&#62;<')
    expect(svg).toContain('class="limit red"')
    expect(svg).toContain('>500 ms<')
  })

  it('when a panel is one number, then it has the colour of its limit', () => {
    expect(draw('stat', series([200, '0.7']))).toMatch(/class="card red".*>700 ms</s)
    expect(draw('stat', series([200, '0.2']))).toMatch(/class="card green".*>200 ms</s)
  })

  it('when there are no figures, then each panel says so', () => {
    for (const type of ['stat', 'timeseries']) expect(draw(type, new Map())).toContain('>no data<')
  })

  it('when the dashboard changes, then the picture in the documents is drawn again', () => {
    const titles = [...PICTURE.matchAll(/<text class="(?:row|panel)"[^>]*>([^<]*)</g)].map(([, title]) => title)
    expect(titles, 'npm run bench:dashboard').toEqual(DASHBOARD.panels.map(({ title }) => title))
    expect(PICTURE).toContain('not taken in Grafana')
  })
})
