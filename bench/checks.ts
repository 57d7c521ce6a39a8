import { type ApiResponse, apiClient } from '../testing/api-client.ts'
import { atOnce, statusCounts } from '../testing/rows.ts'
import type { BenchDatabase } from './fixture.ts'
import { padTable } from './report.ts'
import type { System } from './systems.ts'
import type { Line } from './workloads.ts'

// Whether a system is right under concurrent and repeated calls: without that, its speed is worth nothing.

export interface CheckResult {
  check: string
  system: string
  ours: boolean
  holds: boolean
  /** What was seen, where the check does not hold. */
  happened: string | undefined
}

/** The calls of a system that the checks make. */
interface Tried {
  place(items: Line[]): Promise<ApiResponse>
  read(id: number): Promise<ApiResponse>
  confirm(id: number, key: string): Promise<ApiResponse>
  orchestrate(items: Line[], key: string): Promise<ApiResponse>
  database: BenchDatabase
}

type Facts = Record<string, string | number>

interface Check {
  promise: string
  try(tried: Tried): Promise<{ seen: Facts; expected: Facts }>
}

const MAX_RESPONSE_MS = 30_000

const CHECKS: readonly Check[] = [
  {
    promise: '200 orders at once for 20 pieces: 20 are sold',
    async try({ orchestrate, database }) {
      const product_id = await database.addProduct(20)
      const responses = await atOnce(200, () => orchestrate([{ product_id, qty: 1 }], crypto.randomUUID()))
      const seen = { answers: statusesOf(responses), left: await database.stockOf(product_id) }
      return { seen, expected: { answers: '20 × 201, 180 × 409', left: 0 } }
    },
  },
  {
    promise: '20 calls at once with one key: one order, one answer',
    try: (tried) => callAgain(tried, atOnce),
  },
  {
    promise: '20 calls in turn with one key: one order, one answer',
    try: (tried) => callAgain(tried, inTurn),
  },
  {
    promise: 'two lines of one product, too much together: refused',
    async try({ place, database }) {
      const product_id = await database.addProduct(10)
      const line = { product_id, qty: 6 }
      const responses = [await place([line, line])]
      const seen = { answers: statusesOf(responses), left: await database.stockOf(product_id) }
      return { seen, expected: { answers: '1 × 409', left: 10 } }
    },
  },
  {
    promise: '60 orders at once, lines in opposite order: all placed',
    async try({ place, database }) {
      const lines = [await database.addProduct(100), await database.addProduct(100)].map((product_id) => ({
        product_id,
        qty: 1,
      }))
      const responses = await atOnce(60, (i) => place(i % 2 === 0 ? lines : lines.toReversed()))
      const left = await Promise.all(lines.map(({ product_id }) => database.stockOf(product_id)))
      return {
        seen: { answers: statusesOf(responses), left: left.join(' and ') },
        expected: { answers: '60 × 201', left: '40 and 40' },
      }
    },
  },
  {
    promise: '10 confirms at once with one key: one answer',
    async try(tried) {
      const id = await placeOne(tried)
      const key = crypto.randomUUID()
      const responses = await atOnce(10, () => tried.confirm(id, key))
      return {
        seen: { answers: statusesOf(responses), 'different bodies': bodiesOf(responses) },
        expected: { answers: '10 × 200', 'different bodies': 1 },
      }
    },
  },
  {
    promise: "one order's key for another order: refused",
    async try(tried) {
      const [id, other] = [await placeOne(tried), await placeOne(tried)]
      const key = crypto.randomUUID()
      const responses = [await tried.confirm(id, key), await tried.confirm(other, key)]
      const { status } = (await tried.read(other)).body
      return {
        seen: { answers: statusesOf(responses), 'the other': String(status) },
        expected: { answers: '1 × 200, 1 × 422', 'the other': 'CREATED' },
      }
    },
  },
  {
    promise: 'the books balance after all this',
    async try({ database }) {
      const { differences } = await database.books()
      return { seen: { differences: differences.join('; ') }, expected: { differences: '' } }
    },
  },
]

/** Uses products of its own, so that the load finds the same stock in every system. */
export async function checkSystem(system: System): Promise<CheckResult[]> {
  const tried = callsOf(system)
  const results: CheckResult[] = []
  for (const check of CHECKS) {
    const happened = await breachOf(check, tried)
    const { name, ours } = system
    results.push({ check: check.promise, system: name, ours, holds: happened === undefined, happened })
  }
  return results
}

async function breachOf(check: Check, tried: Tried): Promise<string | undefined> {
  try {
    const { seen, expected } = await check.try(tried)
    const wrong = Object.keys(expected).filter((name) => seen[name] !== expected[name])
    return wrong.length === 0 ? undefined : wrong.map((name) => `${name}: ${seen[name]}`).join('; ')
  } catch (error) {
    return `failed: ${error instanceof Error ? error.message : error}`
  }
}

type Repeat = (times: number, call: (i: number) => Promise<ApiResponse>) => Promise<ApiResponse[]>

async function inTurn(times: number, call: (i: number) => Promise<ApiResponse>): Promise<ApiResponse[]> {
  const responses: ApiResponse[] = []
  for (let i = 0; i < times; i++) responses.push(await call(i))
  return responses
}

async function callAgain({ orchestrate, database }: Tried, repeat: Repeat) {
  const product_id = await database.addProduct(100)
  const key = crypto.randomUUID()
  const responses = await repeat(20, () => orchestrate([{ product_id, qty: 1 }], key))
  const orders = await database.ordersOf(product_id)
  return {
    seen: { orders, answers: statusesOf(responses), 'different bodies': bodiesOf(responses) },
    expected: { orders: 1, answers: '20 × 201', 'different bodies': 1 },
  }
}

async function placeOne({ place, database }: Tried): Promise<number> {
  const { status, body } = await place([{ product_id: await database.addProduct(1), qty: 1 }])
  if (status !== 201) throw new Error(`an order was answered ${status}`)
  return Number(body.id)
}

/** `20 × 201, 180 × 409` */
function statusesOf(responses: ApiResponse[]): string {
  const counts = Object.entries(statusCounts(responses))
  return counts.map(([status, count]) => `${count} × ${status}`).join(', ')
}

function bodiesOf(responses: readonly ApiResponse[]): number {
  return new Set(responses.map(({ text }) => text)).size
}

function callsOf({ ports, fixture, database }: System): Tried {
  const { token, customerId: customer_id } = fixture
  const clientAt = (port: number) => apiClient(`http://127.0.0.1:${port}`, token)
  const [orders, orchestrator] = [clientAt(ports.orders), clientAt(ports.orchestrator)]
  const limited = () => ({ signal: AbortSignal.timeout(MAX_RESPONSE_MS) })
  return {
    place: (items) => orders.post('/orders', { customer_id, items }, limited()),
    read: (id) => orders.get(`/orders/${id}`, limited()),
    confirm: (id, key) =>
      orders.post(`/orders/${id}/confirm`, undefined, { ...limited(), headers: { 'x-idempotency-key': key } }),
    orchestrate(items, idempotency_key) {
      const body = { customer_id, items, idempotency_key, correlation_id: 'bench' }
      return orchestrator.post('/orchestrator/create-and-confirm-order', body, limited())
    },
    database,
  }
}

export function printChecks(results: readonly CheckResult[]): void {
  const systems = [...new Set(results.map(({ system }) => system))]
  const table = [['check', ...systems]]
  for (const [check, of] of Map.groupBy(results, ({ check }) => check)) {
    const cells = systems.map((name) => of.find(({ system }) => system === name)?.happened ?? 'holds')
    table.push([check, ...cells])
  }
  console.log(`${padTable(table, () => true).join('\n')}\n`)
}
