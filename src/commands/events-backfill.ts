import { readOptions, readPositive, runCommand } from '../compose/command-line.ts'
import { describeDatabase, openMigratedDatabase, withDatabaseErrors } from '../compose/process.ts'
import { type Backfilled, backfillEvents } from '../orders/backfill-events.ts'

const HELP = `Writes the events of orders that an older version placed or changed: that version writes none. Run it after an upgrade,
when no older process serves any more. Safe on a live database, on several machines at once, and to run again.
Each added event has the reason "backfilled" and shows its order as it is now.

  npm run events:backfill [-- --all] [--after 5000]

  --all    also the orders from before the feed began: each gets one event, order.placed. Webhooks will send them
  --after  only orders with a higher id, to go on where another run was interrupted`

await runCommand(HELP, async (env) => {
  const { all = false, after } = readOptions({ all: { type: 'boolean' }, after: { type: 'string' } }, HELP)
  const options = { all, after: readPositive(after, '--after', HELP) ?? 0 }
  await withDatabaseErrors(env, async () => {
    const db = await openMigratedDatabase(env)
    const { orders, events } = await backfillEvents(db, options, createProgress())
    console.log(`${describeDatabase(env.database)}: ${events} events added, ${orders} orders looked at.`)
    await db.destroy()
  })
})

/** Reports the progress of long work on standard error. */
function createProgress(everyMs = 1_000) {
  let last = Date.now()
  return ({ orders, events }: Backfilled, lastId: number) => {
    if (Date.now() - last < everyMs) return
    last = Date.now()
    console.error(`${events} events added, ${orders} orders looked at. If interrupted, go on with: --after ${lastId}`)
  }
}
