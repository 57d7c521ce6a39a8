import { type Audit, auditBooks, MOST_DIFFERENCES } from '../audit/service.ts'
import { connected, openMigratedDatabase, whereIs } from '../entrypoints/running.ts'
import { readOptions, runCommand } from './command-line.ts'

const HELP = `Proves the books: stock, totals, states, keys and holds. Reads only; safe on a live database.
Exits with 1 when anything differs.

  npm run audit:books [-- --json]

  --json  the findings as JSON, for programs`

const SHOWN = 10

await runCommand(HELP, async (env) => {
  const { json } = readOptions({ json: { type: 'boolean' } }, HELP)
  const audit = await connected(env, async () => {
    const db = await openMigratedDatabase(env, { readOnly: true })
    const result = await auditBooks(db, env.orders)
    await db.destroy()
    return result
  })
  console.log(json ? JSON.stringify(audit, null, 2) : report(audit, whereIs(env.database)))
  if (!audit.balanced) process.exit(1)
})

function report({ balanced, counted, findings }: Audit, where: string): string {
  const width = Math.max(...findings.map(({ check }) => check.length))
  const lines = findings.flatMap(({ check, promise, differences }) => {
    const many = differences.length === MOST_DIFFERENCES ? `${MOST_DIFFERENCES} or more` : String(differences.length)
    const verdict = differences.length === 0 ? 'ok' : `${many} DIFFER`
    const shown = differences.slice(0, SHOWN).map((difference) => `      ${JSON.stringify(difference)}`)
    return [`  ${check.padEnd(width)}  ${verdict.padEnd(10)}  ${promise}`, ...shown]
  })
  const { products, orders, keys } = counted
  return [
    `Books of ${where}: ${products} products, ${orders} orders, ${keys} keys`,
    '',
    ...lines,
    '',
    balanced ? 'Balanced.' : 'NOT balanced.',
  ].join('\n')
}
