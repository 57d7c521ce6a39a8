import { readDays, readOptions, readPositive, runCommand, UsageError } from '../compose/command-line.ts'
import type { Env } from '../compose/env.ts'
import { composeSupport } from '../compose/order-support.ts'
import { openMigratedDatabase, withDatabaseErrors } from '../compose/process.ts'
import type { FoundOrder, KeySearch, OrderSupport } from '../orders/support.ts'
import { sha256 } from '../platform/core/crypto.ts'
import { AppError } from '../platform/core/errors.ts'
import { addDays, fromRfc3339, toRfc3339 } from '../platform/core/time.ts'
import { idempotencyKey } from '../platform/idempotency/header.ts'
import { CORRELATION_ID } from '../platform/telemetry/trace.ts'

const HELP = `Answers: was this order placed? It only reads, so it is safe at any time.

  npm run order:find -- --key purchase-order-4711 [--client client_abc] [--since 30d] [--json]
  npm run order:find -- --correlation-id req-789 [--client client_abc] [--since 30d] [--json]
  npm run order:find -- --id 5 [--json]

  --key             the idempotency key that the caller sent, to Orders or to the orchestrator
  --correlation-id  the correlation id of the request that placed it
  --id              the order's id
  --client          only orders that this client placed; anonymous, for callers without a token
  --since           how far back to look, in days; absent, 30d
  --json            what was found as JSON, for programs

Exits with 0 when there is such an order, with 1 when there is none, and with 2 when it could not look.
Orders of the version before migration 0005_order_origin are found by a key that is still remembered, or by id.`

const FAILURE = 2
const NAMES = { orders: 'Orders', orchestrator: 'the orchestrator' }
const OLD_VERSION = 'the version before migration 0005_order_origin placed them'
const OPTIONS = {
  key: { type: 'string' },
  'correlation-id': { type: 'string' },
  id: { type: 'string' },
  client: { type: 'string' },
  since: { type: 'string' },
  json: { type: 'boolean', default: false },
} as const

type KeyUse = KeySearch['data'][number]
type Options = ReturnType<typeof optionsOf>

/** An order, with what is stored about the key of the search. */
interface Finding {
  order: FoundOrder
  /** The API that the caller used; null when it is unknown. */
  via: KeyUse['via'] | null
  uses: Pick<KeyUse, 'operation' | 'status' | 'created_at' | 'expires_at'>[]
}

interface Outcome {
  findings: Finding[]
  /** The start of the searched period; null when the search had no period. */
  since: string | null
  /** The number of orders in the period that have no origin. */
  unrecorded: number
  kept: Awaited<ReturnType<OrderSupport['keptSince']>>
}

await runCommand(
  HELP,
  async (env) => {
    const options = optionsOf()
    const outcome = await withDatabaseErrors(env, () => search(env, options))
    console.log(options.json ? JSON.stringify(jsonOf(outcome), null, 2) : story(outcome, options))
    if (outcome.findings.length === 0) process.exit(1)
  },
  FAILURE,
)

/** @throws UsageError */
function optionsOf() {
  const { key, client, json, since, id, 'correlation-id': correlationId } = readOptions(OPTIONS, HELP)
  if ([key, correlationId, id].filter((given) => given !== undefined).length !== 1) {
    throw new UsageError('One of --key, --correlation-id and --id is needed.', HELP)
  }
  if (id !== undefined && (client !== undefined || since !== undefined)) {
    throw new UsageError('--client and --since belong to --key and --correlation-id.', HELP)
  }
  if (correlationId !== undefined && !CORRELATION_ID.test(correlationId)) {
    throw new UsageError('--correlation-id has 1 to 128 letters, digits or any of _ . : -', HELP)
  }
  if (client === '') throw new UsageError('--client needs the id of a client.', HELP)
  return { json, client, correlationId, key: keyOf(key), id: readPositive(id, '--id', HELP), days: daysOf(since) }
}

/** @throws UsageError */
function keyOf(text: string | undefined): string | undefined {
  try {
    return idempotencyKey(text)
  } catch (error) {
    throw error instanceof AppError ? new UsageError(error.message, HELP) : error
  }
}

/** @throws UsageError */
function daysOf(text = '30d'): number {
  const days = readDays(text)
  if (days === undefined || days === 0) throw new UsageError('--since is in days: 30d.', HELP)
  return days
}

async function search(env: Env, options: Options): Promise<Outcome> {
  const db = await openMigratedDatabase(env, { readOnly: true })
  try {
    const support = composeSupport(env, db)
    return options.id === undefined ? await searchBack(support, options) : await findOne(support, options.id)
  } finally {
    await db.destroy()
  }
}

async function findOne(support: OrderSupport, id: number): Promise<Outcome> {
  const order = await support.findOrder(id)
  const findings = order ? [{ order, via: null, uses: [] }] : []
  return { findings, since: null, unrecorded: 0, kept: await support.keptSince() }
}

/** Stored keys have an index, so they are searched first. Older orders are scanned, the newest first. */
async function searchBack(support: OrderSupport, options: Options): Promise<Outcome> {
  const { key, correlationId, client, days } = options
  const kept = await support.keptSince()
  const since = toRfc3339(addDays(fromRfc3339(kept.now), -days))
  const remembered = key === undefined ? [] : await rememberedOf(support, key, client)
  if (remembered.length > 0) return { findings: remembered, since, unrecorded: 0, kept }
  const what = { key, correlationId, client, since: fromRfc3339(since) }
  const { found, unrecorded } = await support.scanOrders(what, createProgress())
  return { findings: found.map((order) => ({ order, via: viaOf(order, key), uses: [] })), since, unrecorded, kept }
}

async function rememberedOf(support: OrderSupport, key: string, client: string | undefined): Promise<Finding[]> {
  const { data } = await support.findKey(key, client)
  const ids = [...new Set(data.map(({ order }) => order.id))]
  const findings = ids.map(async (id): Promise<Finding[]> => {
    const uses = data.filter(({ order }) => order.id === id)
    const order = await support.findOrder(id)
    return order ? [{ order, via: uses[0]?.via ?? null, uses }] : []
  })
  return (await Promise.all(findings)).flat()
}

function viaOf({ key_hash }: FoundOrder, key: string | undefined): Finding['via'] {
  if (key === undefined) return null
  return key_hash === sha256(key) ? 'orders' : 'orchestrator'
}

/** Reports the progress of a long search on standard error. */
function createProgress(everyMs = 1_000) {
  let last = Date.now()
  return (scanned: number, backTo: string) => {
    if (Date.now() - last < everyMs) return
    last = Date.now()
    console.error(`looked at ${scanned} orders, back to ${backTo}`)
  }
}

function jsonOf({ findings, since, unrecorded, kept: { kept_since, kept_hours } }: Outcome) {
  const orders = findings.map(({ order, via, uses }) => ({ ...order, via, key_uses: uses.map(useOf) }))
  return { found: orders.length > 0, orders, searched_since: since, unrecorded, kept_since, kept_hours }
}

function useOf({ operation, status, created_at, expires_at }: Finding['uses'][number]) {
  return { operation, status, created_at, expires_at }
}

function story(outcome: Outcome, options: Options): string {
  if (outcome.findings.length === 0) return absence(outcome, options)
  return outcome.findings.map((finding) => describe(finding, outcome.kept)).join('\n\n')
}

function absence({ since, unrecorded, kept }: Outcome, { id, key, client }: Options): string {
  if (id !== undefined) return `There is no order ${id}. If it was archived, it is in a file of npm run purge.`
  const by = client === undefined ? '' : ` by ${client}`
  const what = key === undefined ? 'by a request with this correlation id' : 'with this key'
  const lines = [`No order was placed ${what}${by} since ${since}.`]
  if (key !== undefined)
    lines.push(`Keys are remembered for ${kept.kept_hours} hours, that is, since ${kept.kept_since}.`)
  if (unrecorded > 0) lines.push(`${unrecorded} orders of that time do not say where they came from: ${OLD_VERSION}.`)
  return [...lines, 'To look further back: --since'].join('\n')
}

function describe({ order, via, uses }: Finding, { now }: Outcome['kept']): string {
  const rows: [string, string | null][] = [
    ['customer', String(order.customer_id)],
    ['total', `${order.total_cents} cents`],
    ['placed by', `${order.placed_by ?? 'not recorded'}${via === null ? '' : `, by a call of ${NAMES[via]}`}`],
    ['placed', order.created_at],
    ['confirmed', order.confirmed_at],
    ['canceled', order.canceled_at],
    ['hold ends', order.status === 'CREATED' ? order.expires_at : null],
    ['correlation id', order.correlation_id ?? 'not recorded'],
    ['key', keyStateOf(order, uses, now)],
    ...uses.map(({ operation, status, created_at }): [string, string] => [
      operation,
      `answered ${status} at ${created_at}`,
    ]),
  ]
  const lines = rows.flatMap(([name, value]) => (value === null ? [] : [`  ${name.padEnd(16)}${value}`]))
  return [`Order ${order.id} was placed. It is ${order.status}.`, '', ...lines].join('\n')
}

function keyStateOf({ key_hash, placed_by }: FoundOrder, uses: Finding['uses'], now: string): string {
  const until = uses
    .map(({ expires_at }) => expires_at)
    .sort()
    .at(-1)
  if (until !== undefined && until > now)
    return `remembered until ${until}: the same request gets the first answer again`
  if (until !== undefined) return `forgotten since ${until}: the same request would place another order`
  if (key_hash !== null) return `its SHA-256 is ${key_hash}`
  return placed_by === null ? 'not recorded' : 'none was sent'
}
