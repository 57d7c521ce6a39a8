import {
  type Audit,
  auditBooks,
  type Explanation,
  explainStock,
  type Fix,
  type Fixed,
  fixStock,
  MAX_DIFFERENCES,
  recordAudit,
} from '../audit/service.ts'
import { askToGoOn, readOptionsAndRest, readPositive, runCommand, UsageError } from '../compose/command-line.ts'
import type { Env } from '../compose/env.ts'
import { describeDatabase, openMigratedDatabase, withDatabaseErrors } from '../compose/process.ts'
import { StartError } from '../compose/start-failure.ts'
import type { Database } from '../platform/database/types.ts'

const HELP = `Proves the books: stock, totals, states, keys, holds and events. Safe on a live database.
Reads only, unless it is told to record what it finds or to fix something. Exits with 1 when anything differs.

  npm run audit:books [-- --record] [--json]
  npm run audit:books -- --explain product 1 [--limit 20] [--json]
  npm run audit:books -- --fix product 1 --trust ledger|stock [--reason "counted"] [--yes] [--json]

  --record   keeps the result in the database, where the metrics of the services have it from
  --json     the findings as JSON, for programs
  --explain  shows what makes the stock of a product: its adjustments, and what orders took
  --limit    how many rows each list shows, the newest; absent, 20. The totals count all of them
  --fix      shows what differs, asks, and writes one thing that balances the product
  --trust    ledger: the stock is set to what adjustments and orders make
             stock: one adjustment is added, so that the ledger makes the stock that is there
  --reason   what the added adjustment says
  --yes      does not ask`

const SHOWN = 10
const OPTIONS = {
  json: { type: 'boolean', default: false },
  record: { type: 'boolean', default: false },
  explain: { type: 'string' },
  fix: { type: 'string' },
  limit: { type: 'string' },
  trust: { type: 'string' },
  reason: { type: 'string' },
  yes: { type: 'boolean', default: false },
} as const
const DEFAULT_REASON = 'The books were fixed: the stock was trusted'
const MAX_REASON = 200

type Options = ReturnType<typeof optionsOf>

await runCommand(HELP, async (env) => {
  const options = optionsOf()
  if (options.product === undefined) return audit(env, options)
  return options.trust === undefined ? explain(env, options.product, options) : fix(env, options.product, options)
})

/** @throws UsageError */
function optionsOf() {
  const { values, rest } = readOptionsAndRest(OPTIONS, HELP)
  const { json, record, yes, trust, explain, fix, limit, reason = DEFAULT_REASON } = values
  if (explain !== undefined && fix !== undefined) throw new UsageError('--explain and --fix exclude each other.', HELP)
  const subject = explain ?? fix
  const [id] = rest
  const [unexpected] = subject === undefined ? rest : rest.slice(1)
  if (unexpected !== undefined) throw new UsageError(`Unexpected argument '${unexpected}'.`, HELP)
  if (subject !== undefined && subject !== 'product') throw new UsageError('Only a product can be named.', HELP)
  if (subject !== undefined && id === undefined) throw new UsageError("The product's id is needed.", HELP)
  refuseUnfit({ fix, explain, ...values })
  if (reason.length > MAX_REASON || reason.trim() === '') {
    throw new UsageError(`--reason must have 1 to ${MAX_REASON} characters.`, HELP)
  }
  return {
    json,
    record,
    yes,
    reason,
    product: readPositive(id, "The product's id", HELP),
    trust: trustOf(trust),
    limit: readPositive(limit, '--limit', HELP) ?? 20,
  }
}

function trustOf(text: string | undefined): Fix['trust'] | undefined {
  return text === 'ledger' || text === 'stock' ? text : undefined
}

/** @throws UsageError for an option that has no effect without another one */
function refuseUnfit(given: Record<string, string | boolean | undefined>): void {
  const { fix, explain, limit, trust, reason, yes, record } = given
  if (fix !== undefined && trust !== 'ledger' && trust !== 'stock') {
    throw new UsageError('--fix needs --trust ledger or --trust stock.', HELP)
  }
  if (fix === undefined && (trust !== undefined || reason !== undefined || yes === true)) {
    throw new UsageError('--trust, --reason and --yes belong to --fix.', HELP)
  }
  if ((fix ?? explain) !== undefined && record === true) {
    throw new UsageError('--record belongs to the whole audit.', HELP)
  }
  if (explain === undefined && limit !== undefined) throw new UsageError('--limit belongs to --explain.', HELP)
  if (reason !== undefined && trust !== 'stock') throw new UsageError('--reason belongs to --trust stock.', HELP)
}

async function audit(env: Env, { json, record }: Options): Promise<void> {
  const found = record ? await auditAndRecord(env) : await reading(env, (db) => auditBooks(db, env.orders))
  console.log(json ? JSON.stringify(found, null, 2) : report(found, describeDatabase(env.database)))
  if (!found.balanced) process.exit(1)
}

function auditAndRecord(env: Env): Promise<Audit> {
  return withDatabase(env, async (db) => {
    const found = await auditBooks(db, env.orders)
    await recordAudit(db, found)
    return found
  })
}

async function explain(env: Env, product: number, { json, limit }: Options): Promise<void> {
  const found = await reading(env, (db) => explanationOf(db, product, limit))
  console.log(json ? JSON.stringify(found, null, 2) : story(found))
  if (found.stock !== found.expected) process.exit(1)
}

async function fix(env: Env, product: number, options: Options): Promise<void> {
  const { json, yes, reason } = options
  const trust = options.trust ?? 'ledger'
  await withDatabase(env, async (db) => {
    const before = await explanationOf(db, product, 1)
    const excess = before.stock - before.expected
    if (excess === 0) {
      console.log(
        json ? JSON.stringify({ product_id: product, done: 'nothing' }) : `${sums(before)}\n\nNothing to fix.`,
      )
      return
    }
    if (!json) console.log(`${sums(before)}\n`)
    await askToGoOn(intentOf(before, { productId: product, trust, excess, reason }), yes)
    const fixed = await fixStock(db, { productId: product, trust, excess, reason })
    if (fixed.done === 'nothing') throw new StartError(refusalOf(fixed.why))
    console.log(json ? JSON.stringify({ product_id: product, ...fixed }) : outcomeOf(fixed))
  })
}

function reading<T>(env: Env, work: (db: Database) => Promise<T>): Promise<T> {
  return withDatabase(env, work, { readOnly: true })
}

function withDatabase<T>(env: Env, work: (db: Database) => Promise<T>, options?: { readOnly: boolean }): Promise<T> {
  return withDatabaseErrors(env, async () => {
    const db = await openMigratedDatabase(env, options)
    return work(db).finally(() => db.destroy())
  })
}

/** @throws StartError when there is no such product */
async function explanationOf(db: Database, product: number, limit: number): Promise<Explanation> {
  const found = await explainStock(db, product, limit)
  if (found === undefined) throw new StartError(`There is no product ${product}.`)
  return found
}

function intentOf({ stock, expected }: Explanation, { productId, trust, excess, reason }: Fix): string {
  if (trust === 'ledger') return `The stock of product ${productId} will be set from ${stock} to ${expected}.`
  return `An adjustment of ${signed(excess)} will be added to product ${productId}: "${reason}".`
}

function refusalOf(why: 'changed' | 'below zero'): string {
  if (why === 'changed') return 'The difference is another one by now. Nothing was changed: look again.'
  return 'The ledger makes less than 0, which no stock can be. Nothing was changed: count, then use --trust stock.'
}

function outcomeOf(fixed: Exclude<Fixed, { done: 'nothing' }>): string {
  if (fixed.done === 'stock set') return `Done: the stock was ${fixed.before} and is ${fixed.after}.`
  return `Done: adjustment ${fixed.id} of ${signed(fixed.delta)} was added.`
}

function signed(count: number): string {
  return count > 0 ? `+${count}` : String(count)
}

function story(found: Explanation): string {
  const { newest_adjustments: adjustments, newest_live_lines: lines } = found
  return [
    sums(found),
    '',
    `  Adjustments, newest first (${adjustments.length} of ${found.adjustments}):`,
    ...adjustments.map(
      ({ id, delta, reason, principal, created_at }) =>
        `      ${created_at}  ${signed(delta).padStart(8)}  ${id}  ${principal}  ${reason}`,
    ),
    '',
    `  Lines of orders that are not canceled, newest first (${lines.length}; ${found.live_orders} orders in all):`,
    ...lines.map(
      ({ order_id, qty, status, created_at }) =>
        `      ${created_at}  ${signed(-qty).padStart(8)}  ${order_id}  ${status}`,
    ),
  ].join('\n')
}

function sums({ product_id, sku, name, stock, adjusted, adjustments, taken, live_orders, expected }: Explanation) {
  const excess = stock - expected
  return [
    `Product ${product_id}, ${sku}, ${name}`,
    '',
    `  adjusted   ${String(adjusted).padStart(12)}  by ${adjustments} adjustments`,
    `  taken      ${String(taken).padStart(12)}  by ${live_orders} orders that are not canceled`,
    `  expected   ${String(expected).padStart(12)}  = adjusted − taken`,
    `  stock      ${String(stock).padStart(12)}  ${excess === 0 ? 'as expected' : `DIFFERS by ${signed(excess)}`}`,
  ].join('\n')
}

function report({ balanced, counted, findings }: Audit, where: string): string {
  const width = Math.max(...findings.map(({ check }) => check.length))
  const lines = findings.flatMap(({ check, promise, differences, remedy }) => {
    const many = differences.length === MAX_DIFFERENCES ? `${MAX_DIFFERENCES} or more` : String(differences.length)
    const verdict = differences.length === 0 ? 'ok' : `${many} DIFFER`
    const shown = differences.slice(0, SHOWN).map((difference) => `      ${JSON.stringify(difference)}`)
    const advice = remedy && differences.length > 0 ? [`      ${remedy}`] : []
    return [`  ${check.padEnd(width)}  ${verdict.padEnd(10)}  ${promise}`, ...shown, ...advice]
  })
  const { products, orders, keys, events } = counted
  return [
    `Books of ${where}: ${products} products, ${orders} orders, ${keys} keys, ${events} events`,
    '',
    ...lines,
    '',
    balanced ? 'Balanced.' : 'NOT balanced.',
  ].join('\n')
}
