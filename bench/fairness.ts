import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createProgram } from '../scripts/program.ts'
import { bulkInsert, chunks } from '../src/platform/database/bulk-insert.ts'
import { openDatabase } from '../src/platform/database/open.ts'
import type { Database } from '../src/platform/database/types.ts'
import { HOW_TO_GET_A_SERVER, startDatabaseServer } from '../testing/database-server.ts'
import { addClient, tokenFor } from '../testing/fixture.ts'
import { createLatencies } from '../testing/latencies.ts'
import { encodeRequest, RawConnection } from '../testing/raw-http.ts'
import type { Flood, FloodResponses } from './fairness/flood.ts'
import { padTable } from './report.ts'
import { startSystem } from './systems.ts'

const HELP = `Measures how long one caller waits for its order while another caller floods the system, and without the flood.

  npm run bench:fairness -- [--quick]

  --quick   about half a minute; default: about a minute and a half

It needs a MySQL or MariaDB server, as the tests do. Prints a table. Exits with 1 when the first caller is refused
an order, never because of a figure.`

const FLOODS = ['orders of 200 lines, 100 connections', 'searches for two common words, 20 connections'] as const
const CLIENTS = ['flood', 'other'] as const
const SEARCHED_PRODUCTS = 300_000
const FIRST_SEARCHED = 10_000_001
const ROWS_PER_INSERT = 5_000
const PAUSE_MS = 5

const { endInterrupted, fail, interruption, readOptions, tell } = createProgram(HELP)

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const values = readOptions({ quick: { type: 'boolean' } })
if (values.help) console.log(HELP)
else await main(values.quick ? 4_000 : 15_000)

async function main(ms: number): Promise<void> {
  const server = await startDatabaseServer({ durable: true })
  if (server === undefined) return fail(HOW_TO_GET_A_SERVER)
  const folder = mkdtempSync(join(tmpdir(), 'b2b-orders-fairness-'))
  try {
    tell('starting one process …')
    const system = await startSystem('one process', server, folder)
    try {
      const db = await openDatabase(system.database.env.database)
      tell(`making ${SEARCHED_PRODUCTS.toLocaleString('en')} products …`)
      for (const id of CLIENTS) await addClient(db, id)
      await makeSearchedProducts(db).finally(() => db.destroy())
      await compare(system, ms)
    } finally {
      await system.stop()
    }
  } catch (error) {
    endInterrupted(error)
  } finally {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

type System = Awaited<ReturnType<typeof startSystem>>

async function compare(system: System, ms: number): Promise<void> {
  const { firstProduct } = system.fixture
  const port = system.ports.orders
  const tokenOf = (clientId: (typeof CLIENTS)[number]) => tokenFor(clientId, system.database.env)
  const order = (product: number, lines: number) => ({
    customer_id: system.fixture.customerId,
    items: Array.from({ length: lines }, (_, i) => ({ product_id: product + i, qty: 1 })),
  })
  const flooding = { authorization: `Bearer ${await tokenOf('flood')}` }
  const requests = {
    [FLOODS[0]]: encodeRequest({ method: 'POST', path: '/orders', headers: flooding, body: order(firstProduct, 200) }),
    [FLOODS[1]]: encodeRequest({ method: 'GET', path: '/products?search=steel%20nut', headers: flooding }),
  }
  const other = { authorization: `Bearer ${await tokenOf('other')}` }
  const probe = encodeRequest({ method: 'POST', path: '/orders', headers: other, body: order(firstProduct + 500, 1) })
  await measure(port, probe, ms / 4)
  const rows: string[][] = []
  for (const name of FLOODS) {
    tell(name)
    const quiet = await measure(port, probe, ms)
    const { responded, stop } = startFlood({
      port,
      connections: Number(/(\d+) connections/.exec(name)?.[1]),
      requests: [requests[name]],
    })
    await sleep(1_000, undefined, { signal: interruption })
    const under = await measure(port, probe, ms)
    stop()
    const responses = Object.entries(await responded).map(([status, count]) => `${status}: ${count}`)
    rows.push([
      name,
      ...[quiet, under].flatMap((it) => [it.p50.toFixed(1), it.p99.toFixed(1)]),
      (under.p50 / quiet.p50).toFixed(1),
      responses.join(', '),
    ])
    if (quiet.refused + under.refused > 0) process.exitCode = 1
  }
  const head = ['flood', 'quiet p50 ms', 'p99', 'under it p50', 'p99', 'p50 ratio', 'answers of the flood']
  console.log(padTable([head, ...rows], (column) => [0, head.length - 1].includes(column)).join('\n'))
}

function startFlood(flood: Flood): { responded: Promise<FloodResponses>; stop: () => void } {
  const child: ChildProcess = fork(fileURLToPath(new URL('fairness/flood.ts', import.meta.url)), { execArgv: [] })
  child.send(flood)
  const responded = once(child, 'message').then(([responses]) => {
    child.disconnect()
    return responses
  })
  return { responded, stop: () => child.send('stop') }
}

/** One caller, which pauses between its orders. */
async function measure(port: number, request: string, ms: number) {
  const connection = new RawConnection(port)
  const latencies = createLatencies()
  let refused = 0
  const until = performance.now() + ms
  while (performance.now() < until) {
    const began = performance.now()
    const { status } = await connection.send(request)
    if (status !== 201) refused++
    latencies.record(performance.now() - began)
    await sleep(PAUSE_MS, undefined, { signal: interruption })
  }
  connection.close()
  return { ...latencies.percentiles(), refused }
}

/** Half of the products have one word, half the other; none has both. */
async function makeSearchedProducts(db: Database): Promise<void> {
  const ids = Array.from({ length: SEARCHED_PRODUCTS }, (_, i) => FIRST_SEARCHED + i)
  const created_at = '2026-01-05 09:00:00.000'
  const wordOf = (id: number) => (id % 2 === 0 ? 'steel' : 'nut')
  for (const some of chunks(ids, ROWS_PER_INSERT)) {
    const products = some.map((id) => ({
      id,
      sku: `S-${id}`,
      name: wordOf(id),
      price_cents: 1,
      stock: 0,
      created_at,
      updated_at: created_at,
    }))
    await db.executeQuery(
      bulkInsert('products', ['id', 'sku', 'name', 'price_cents', 'stock', 'created_at', 'updated_at'], products),
    )
    const words = some.map((id) => ({ word: wordOf(id), product_id: id }))
    await db.executeQuery(bulkInsert('product_words', ['word', 'product_id'], words))
  }
}
