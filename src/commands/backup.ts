import { closeSync, existsSync, fsyncSync, openSync, rmSync } from 'node:fs'
import { sql } from 'kysely'
import { readOptions, runCommand, UsageError } from '../compose/command-line.ts'
import { withDatabaseErrors } from '../compose/process.ts'
import { StartError } from '../compose/start-failure.ts'
import { openDatabase } from '../platform/database/open.ts'

const HELP = `Copies the embedded database to a new file, as it is at one moment. Services may run meanwhile.
A MySQL server has its own means: see "Back up" in docs/operations.md.

  npm run backup -- --to b2b.sqlite

  --to  the copy, which must not be there yet`

const OWNER_ONLY = 0o600

await runCommand(HELP, async (env) => {
  const { to } = readOptions({ to: { type: 'string' } }, HELP)
  if (!to) throw new UsageError('--to is needed.', HELP)
  const { host, file } = env.database
  if (host !== undefined) throw new StartError('This copies the embedded database only. For MySQL use mysqldump.')
  if (!existsSync(file)) throw new StartError(`There is no database ${file}.`)
  createPrivate(to)
  try {
    await withDatabaseErrors(env, async () => {
      const db = await openDatabase(env.database)
      await sql`vacuum into ${to}`.execute(db).finally(() => db.destroy())
    })
    keep(to)
  } catch (error) {
    rmSync(to)
    throw error
  }
  console.log(`${to} is a copy of ${file}.`)
})

/** Creates an empty file that only its owner may read. SQLite fills it later. @throws StartError */
function createPrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', OWNER_ONLY))
  } catch (error) {
    throw new StartError(`${path} can't be made: ${error instanceof Error ? error.message : error}`)
  }
}

/** Flushes a copy to the disk: SQLite does not wait for that. */
function keep(path: string): void {
  const file = openSync(path, 'r+')
  fsyncSync(file)
  closeSync(file)
}
