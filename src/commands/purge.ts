import { closeSync, fsyncSync, openSync, writeFileSync } from 'node:fs'
import { askToGoOn, readDays, readOptions, runCommand, UsageError } from '../compose/command-line.ts'
import type { Env } from '../compose/env.ts'
import { describeDatabase, openMigratedDatabase, withDatabaseErrors } from '../compose/process.ts'
import { StartError } from '../compose/start-failure.ts'
import { type Archived, archiveOrders, countArchivable } from '../orders/archive.ts'
import { addDays, MINUTES_PER_DAY, toRfc3339 } from '../platform/core/time.ts'
import { readClock } from '../platform/database/clock.ts'

const HELP = `Takes old orders out of the database, into a file of JSON lines. Without --to it only counts them.
It takes orders that were placed, and confirmed or canceled, before that time: they are not found any more from then on.
The books stay balanced: for each product one adjustment, "archived orders", stands for what they took.

  npm run purge -- --older-than 730d [--to orders.jsonl [--yes]]

  --older-than  in days, 30d at least
  --to          the file, which must not be there yet. Each order is a line: what GET /orders/:id answers, and its origin
  --yes         does not ask`

const MIN_DAYS = 30
const OWNER_ONLY = 0o600

await runCommand(HELP, async (env) => {
  const options = { 'older-than': { type: 'string' }, to: { type: 'string' }, yes: { type: 'boolean' } } as const
  const { 'older-than': age, to, yes = false } = readOptions(options, HELP)
  if (yes && !to) throw new UsageError('--yes needs --to.', HELP)
  if (to === '') throw new UsageError('--to needs the name of a file.', HELP)
  const days = daysOf(age)
  refuseShort(days, env)
  await withDatabaseErrors(env, async () => {
    const db = await openMigratedDatabase(env)
    const before = addDays(await readClock(db), -days)
    const { CONFIRMED, CANCELED } = await countArchivable(db, before)
    const what = `${CONFIRMED} confirmed and ${CANCELED} canceled orders from before ${toRfc3339(before)}`
    console.log(`${describeDatabase(env.database)} has ${what}.`)
    if (to !== undefined && CONFIRMED + CANCELED > 0) {
      await askToGoOn(`They will be written to ${to} and deleted from the database.`, yes)
      const { idempotencyTtlMinutes } = env
      const archived = await saveTo(to, (save) => archiveOrders(db, { before, idempotencyTtlMinutes }, save))
      console.log(outcomeOf(archived, to))
    }
    await db.destroy()
  })
})

/** @throws UsageError */
function daysOf(age = ''): number {
  const days = readDays(age)
  if (days === undefined) throw new UsageError('--older-than is needed, in days: 730d.', HELP)
  if (days < MIN_DAYS) throw new UsageError(`--older-than must be ${MIN_DAYS}d at least.`, HELP)
  return days
}

/** An order is not final while it can still be canceled, or while a key may refer to it. */
function refuseShort(days: number, { orders, idempotencyTtlMinutes }: Env): void {
  const open = Math.max(orders.cancelWindowMinutes, idempotencyTtlMinutes)
  if (days * MINUTES_PER_DAY > open) return
  throw new StartError('--older-than must be longer than CANCEL_WINDOW_MINUTES and IDEMPOTENCY_TTL_HOURS.')
}

/** Lets `work` save lines in a new file. A save resolves when its lines are on the disk. */
async function saveTo<T>(
  path: string,
  work: (save: (lines: readonly string[]) => Promise<void>) => Promise<T>,
): Promise<T> {
  const file = attempt(path, () => openSync(path, 'wx', OWNER_ONLY))
  const save = async (lines: readonly string[]) =>
    attempt(path, () => {
      writeFileSync(file, lines.map((line) => `${line}\n`).join(''))
      fsyncSync(file)
    })
  return work(save).finally(() => closeSync(file))
}

/** @throws StartError when the file can't be used */
function attempt<T>(path: string, use: () => T): T {
  try {
    return use()
  } catch (error) {
    throw new StartError(`${path} can't be written: ${error instanceof Error ? error.message : error}`)
  }
}

function outcomeOf({ CONFIRMED, CANCELED, kept }: Archived, to: string): string {
  const stay = kept === 0 ? '' : `\n${kept} stay: a key still stands for them, or they changed meanwhile.`
  return `${CONFIRMED} confirmed and ${CANCELED} canceled orders are in ${to}, and no longer in the database.${stay}`
}
