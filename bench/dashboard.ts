import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { endProcess } from '../scripts/children.ts'
import { createProgram } from '../scripts/program.ts'
import { parseEnv } from '../src/compose/env.ts'
import { apiClient } from '../testing/api-client.ts'
import { type DatabaseServer, freePort, HOW_TO_GET_A_SERVER, startDatabaseServer } from '../testing/database-server.ts'
import { databaseVariables, dropDatabase, newDatabaseVariables, tokenFor } from '../testing/fixture.ts'
import { type Prometheus, startPrometheus } from '../testing/prometheus.ts'
import { type NetworkProxy, openProxy } from '../testing/proxy.ts'
import { freePorts, launch, separatePrograms, untilUp, urlAt } from '../testing/service-processes.ts'
import { startCallers } from '../testing/watched-system.ts'
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
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-dashboard-'))
  try {
    const dashboard: Dashboard = JSON.parse(readFileSync(DASHBOARD, 'utf8'))
    const { figures, span } = await runServices(server, folder, runSeconds, dashboard)
    const foot = `Drawn from ${DASHBOARD} with the figures of a run of ${runSeconds} s on ${server.version}; not taken in Grafana.`
    writeFileSync(PICTURE, pictureOf(dashboard, figures, span, foot))
    tell(`Written to ${PICTURE}.`)
  } finally {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Runs the three services under load, and asks Prometheus for what the dashboard shows. */
async function runServices(server: DatabaseServer, folder: string, runSeconds: number, dashboard: Dashboard) {
  const database = newDatabaseVariables(server, folder)
  const network = await openProxy(server)
  const through = databaseVariables({ ...server, host: network.host, port: network.port }, database.DB_NAME ?? '')
  const [ports, metricsPorts] = [await freePorts(), await freePorts()]
  const common = { NODE_ENV: 'test', ORCHESTRATOR_PUBLIC: 'true', ...through }
  const programs = separatePrograms(ports, common, {
    customers: { METRICS_PORT: String(metricsPorts.customers) },
    orders: { METRICS_PORT: String(metricsPorts.orders) },
    orchestrator: { METRICS_PORT: String(metricsPorts.orchestrator) },
  })
  const processes = programs.map((program) => launch(program, folder))
  try {
    await untilUp(Object.values(ports), processes, '/ready', interruption)
    const targets = Object.entries(metricsPorts).map(([service, port]) => ({ address: `127.0.0.1:${port}`, service }))
    const prometheus = await startPrometheus({ targets })
    try {
      const token = await tokenFor('bench', parseEnv({ NODE_ENV: 'test', ...database }))
      const callers = startCallers(apiClient(urlAt(ports.orders), token), apiClient(urlAt(ports.orchestrator), token))
      const span = await playRun(runSeconds, network, server, callers.burst).finally(callers.stop)
      return { figures: await figuresOf(dashboard, prometheus, span), span }
    } finally {
      await prometheus.stop()
    }
  } finally {
    for (const { child } of processes) await endProcess(child)
    await network.close()
    await dropDatabase(parseEnv(database).database)
  }
}

async function playRun(
  runSeconds: number,
  network: NetworkProxy,
  server: DatabaseServer,
  burst: (requests: number) => void,
): Promise<TimeSpan> {
  const start = Date.now() / 1_000
  const nowhere = await freePort()
  for (let passed = 0; passed < runSeconds; passed++) {
    const share = passed / runSeconds
    if (share >= RUSH.from && share < RUSH.to) burst(20)
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
