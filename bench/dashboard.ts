import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createProgram } from '../scripts/program.ts'
import { type DatabaseServer, freePort, HOW_TO_GET_A_SERVER, startDatabaseServer } from '../testing/database-server.ts'
import { listen } from '../testing/listen.ts'
import type { Prometheus } from '../testing/prometheus.ts'
import { startWatchedSystem, type WatchedSystem } from '../testing/watched-system.ts'
import { type Dashboard, type Figures, pictureOf, type TimeSpan } from './dashboard-picture.ts'

const DASHBOARD = 'ops/grafana/b2b-orders.json'
const PICTURE = 'docs/dashboard.svg'

const HELP = `Draws ${PICTURE}: the dashboard of Grafana, from its file and with what Prometheus scrapes in a run of three
minutes. The three services work on MariaDB under some load; meanwhile the database is away for ten seconds.

  npm run bench:dashboard -- [--seconds 180]

It needs a MySQL or MariaDB server, as the tests do, and Prometheus.`

/** As `$__rate_interval` would be for a scrape each second, but wide enough for a steady line. */
const RATE_INTERVAL = '10s'
const POINTS = 90
/** When the database goes away, as a share of the run, and for how long. */
const OUTAGE = { at: 0.6, seconds: 10 }
/** When more callers come, as a share of the run. */
const RUSH = { from: 0.25, to: 0.5 }

const { endInterrupted, fail, interruption, readOptions, tell } = createProgram(HELP)
process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const { help, seconds = '180' } = readOptions({ seconds: { type: 'string' } })
if (help) console.log(HELP)
else if (!/^[1-9]\d{1,3}$/.test(seconds)) fail(`--seconds ${seconds}?`)
else await main(Number(seconds)).catch(endInterrupted)

async function main(runSeconds: number): Promise<void> {
  const server = await startDatabaseServer()
  if (server === undefined) return fail(HOW_TO_GET_A_SERVER)
  try {
    const dashboard: Dashboard = JSON.parse(readFileSync(DASHBOARD, 'utf8'))
    const { figures, span } = await runServices(server, runSeconds, dashboard)
    const foot = `Drawn from ${DASHBOARD} with the figures of a run of ${runSeconds} s on ${server.version}; not taken in Grafana.`
    writeFileSync(PICTURE, pictureOf(dashboard, figures, span, foot))
    tell(`Written to ${PICTURE}.`)
  } finally {
    await server.stop()
  }
}

/** Runs the three services under load, and asks Prometheus for what the dashboard shows. */
async function runServices(server: DatabaseServer, runSeconds: number, dashboard: Dashboard) {
  const system = await startWatchedSystem(server, {
    variables: { WEBHOOK_ALLOW_HTTP: 'true', WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8' },
  })
  try {
    const soldOut = await prepare(system)
    const span = await playRun(runSeconds, system, soldOut)
    return { figures: await figuresOf(dashboard, system.prometheus, span), span }
  } finally {
    await system.stop()
  }
}

/** A receiver of webhooks and an audited database. @returns places an order of a product that has no stock */
async function prepare({ orders, database, cleanups }: WatchedSystem): Promise<() => void> {
  const receiver = createServer((_, response) => response.end())
  cleanups.push(() => receiver.close())
  await orders.post('/webhook-endpoints', {
    url: `http://127.0.0.1:${await listen(receiver)}/`,
    event_types: ['order.*'],
  })
  const audit = ['src/commands/audit-books.ts', '--record']
  spawnSync(process.execPath, audit, { env: { PATH: process.env.PATH, ...database } })
  const { body } = await orders.post('/products', { sku: 'SOLD-OUT', name: 'Sold out', price_cents: 1, stock: 0 })
  const order = { customer_id: 1, items: [{ product_id: body.id, qty: 1 }] }
  return () => void orders.post('/orders', order).catch(() => undefined)
}

async function playRun(
  runSeconds: number,
  { network, server, callers }: WatchedSystem,
  orderSoldOut: () => void,
): Promise<TimeSpan> {
  const start = Date.now() / 1_000
  const nowhere = await freePort()
  for (let passed = 0; passed < runSeconds; passed++) {
    const share = passed / runSeconds
    if (share >= RUSH.from && share < RUSH.to) callers.burst(20)
    orderSoldOut()
    const outage = passed - Math.round(OUTAGE.at * runSeconds)
    if (outage === 0) tell('The database is away.')
    if (outage >= 0 && outage < OUTAGE.seconds) {
      network.leadTo({ host: '127.0.0.1', port: nowhere })
      network.cut()
    } else network.leadTo(server)
    await sleep(1_000, undefined, { signal: interruption })
  }
  return { start, end: Date.now() / 1_000 }
}

async function figuresOf({ panels }: Dashboard, prometheus: Prometheus, { start, end }: TimeSpan): Promise<Figures> {
  const exprs = new Set(panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)))
  const step = Math.max(1, Math.round((end - start) / POINTS))
  const read = [...exprs].map(async (expr) => {
    const query = expr.replaceAll('$__rate_interval', RATE_INTERVAL).replaceAll('$service', '.*')
    return [expr, await prometheus.queryRange(query, { start, end, step })] as const
  })
  return new Map(await Promise.all(read))
}
