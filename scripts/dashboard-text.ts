import { type Panel, type Query, ROWS, type Row } from './dashboard-panels.ts'

const COLUMNS = 24
const HEIGHTS = { stat: 4, timeseries: 8 } as const
const DATASOURCE = { type: 'prometheus', uid: '$datasource' } as const

interface GridPosition {
  x: number
  y: number
  w: number
  h: number
}

/** ops/grafana/b2b-orders.json: the dashboard in Grafana's classic model, which its current versions import. */
export function dashboardText(): string {
  const dashboard = {
    uid: 'b2b-orders',
    title: 'B2B Orders',
    description: 'Made by npm run dashboard. What to do about an alert: docs/operations.md.',
    tags: ['b2b-orders'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    time: { from: 'now-1h', to: 'now' },
    timezone: 'browser',
    refresh: '15s',
    templating: { list: [datasourceVariable(), serviceVariable()] },
    annotations: { list: [firingAlerts()] },
    panels: panelsOf(ROWS),
  }
  return `${JSON.stringify(dashboard, null, 2)}\n`
}

function datasourceVariable() {
  return { name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus', current: {}, hide: 0 }
}

function serviceVariable() {
  const query = 'label_values(up{job="b2b-orders"}, service)'
  return {
    name: 'service',
    label: 'Service',
    type: 'query',
    datasource: DATASOURCE,
    definition: query,
    query: { query, refId: 'service' },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { selected: true, text: ['All'], value: ['$__all'] },
  }
}

/** Marks on every panel since when an alert fires. */
function firingAlerts() {
  return {
    name: 'Alerts',
    datasource: DATASOURCE,
    enable: true,
    iconColor: 'red',
    expr: 'ALERTS{alertstate="firing"}',
    titleFormat: '{{alertname}}',
    textFormat: '{{service}}',
    step: '15s',
  }
}

function panelsOf(rows: readonly Row[]) {
  const placed: object[] = []
  let y = 0
  for (const { title, panels } of rows) {
    placed.push({
      id: placed.length + 1,
      type: 'row',
      title,
      collapsed: false,
      gridPos: { x: 0, y, w: COLUMNS, h: 1 },
      panels: [],
    })
    const { positions, end } = positionsOf(panels, y + 1)
    for (const [i, panel] of panels.entries()) placed.push(panelOf(panel, placed.length + 1, positions[i]))
    y = end
  }
  return placed
}

/** From left to right; a panel that does not fit begins the next line. */
function positionsOf(panels: readonly Panel[], top: number) {
  const positions: GridPosition[] = []
  let [x, y, height] = [0, top, 0]
  for (const { kind, width } of panels) {
    const h = HEIGHTS[kind]
    if (x + width > COLUMNS) [x, y, height] = [0, y + height, 0]
    positions.push({ x, y, w: width, h })
    x += width
    height = Math.max(height, h)
  }
  return { positions, end: y + height }
}

function panelOf(panel: Panel, id: number, gridPos: GridPosition | undefined) {
  const { title, description, kind: type, queries } = panel
  const targets = queries.map((query, i) => targetOf(query, i, type === 'stat'))
  return {
    id,
    type,
    title,
    description,
    datasource: DATASOURCE,
    gridPos,
    targets,
    ...(type === 'stat' ? statOf(panel) : linesOf(panel)),
  }
}

function targetOf({ expr, legend }: Query, index: number, instant: boolean) {
  const refId = String.fromCharCode('A'.charCodeAt(0) + index)
  return {
    refId,
    datasource: DATASOURCE,
    expr,
    legendFormat: legend || '__auto',
    instant,
    range: !instant,
    editorMode: 'code',
  }
}

function statOf({ unit, limits }: Panel) {
  return {
    fieldConfig: { defaults: { unit, thresholds: thresholdsOf(limits), color: { mode: 'thresholds' } }, overrides: [] },
    options: {
      colorMode: limits ? 'background' : 'value',
      graphMode: 'none',
      justifyMode: 'center',
      textMode: 'value',
      orientation: 'auto',
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
    },
  }
}

function linesOf({ unit, limits, stacked }: Panel) {
  const custom = {
    drawStyle: 'line',
    lineWidth: 1,
    fillOpacity: stacked ? 30 : 0,
    showPoints: 'never',
    spanNulls: false,
    stacking: { mode: stacked ? 'normal' : 'none', group: 'A' },
    thresholdsStyle: { mode: limits ? 'line' : 'off' },
  }
  return {
    fieldConfig: {
      defaults: { unit, min: 0, custom, thresholds: thresholdsOf(limits), color: { mode: 'palette-classic' } },
      overrides: [],
    },
    options: {
      legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  }
}

function thresholdsOf(limits: Panel['limits']) {
  if (limits === undefined) return { mode: 'absolute', steps: [{ color: 'green', value: null }] }
  const { warn, bad, low } = limits
  const [first, last] = low ? ['red', 'green'] : ['green', 'red']
  const [lower, upper] = low ? [bad, warn] : [warn, bad]
  const between = lower === upper ? [] : [{ color: 'orange', value: lower }]
  return { mode: 'absolute', steps: [{ color: first, value: null }, ...between, { color: last, value: upper }] }
}
