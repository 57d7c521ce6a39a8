import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { DEFAULT_MIGRATION_LOCK_TABLE } from 'kysely/migration'
import { dialectOf } from './dialect.ts'
import { isConflict, isLockWaitEnded } from './errors.ts'
import { SERVER_QUESTION, serverOf } from './mysql-server.ts'
import type { Database } from './types.ts'

/** The id of the row that Kysely locks by. */
const LOCK_ROW = 'migration_lock'
const BEAT_MS = 1_000
/** A holder that shows no beat for so many looks in a row is gone. */
const LOOKS_BEFORE_TAKEOVER = 15
const FREE = 0

/**
 * Runs work that changes the schema on one node of a cluster at a time. The server's own locks (`GET_LOCK`) end at its
 * node, so here the lock is a row that all nodes have. Its number is the holder's, who changes it every second. No clock is
 * compared with another.
 */
export async function aloneInCluster<T>(db: Database, work: () => Promise<T>): Promise<T> {
  await makeRow(db)
  const release = await takeLease(db)
  try {
    return await work()
  } finally {
    await release()
  }
}

/** Whether the database is a node of a cluster, whose other nodes know nothing of its server's locks. */
export async function isCluster(db: Database): Promise<boolean> {
  if (dialectOf(db).engine === 'sqlite') return false
  const { rows } = await sql.raw(SERVER_QUESTION).execute(db)
  const { isGalera, isGroupMember } = serverOf(rows)
  return isGalera || isGroupMember
}

/** Kysely's own table for a lock, in Kysely's own words: whoever comes first makes it. */
async function makeRow(db: Database): Promise<void> {
  const table = sql.table(DEFAULT_MIGRATION_LOCK_TABLE)
  await untilNoConflict(() =>
    sql`create table if not exists ${table} (id varchar(255) not null primary key, is_locked integer default 0 not null)`.execute(
      db,
    ),
  )
  await untilNoConflict(() =>
    sql`insert ignore into ${table} (id, is_locked) values (${LOCK_ROW}, ${FREE})`.execute(db),
  )
}

/** @returns what gives it back */
async function takeLease(db: Database): Promise<() => Promise<void>> {
  let number = newNumber()
  for (let last = FREE, unchanged = 0; ; ) {
    const lookedAt = performance.now()
    const seen = await readNumber(db)
    // A slow look says that the cluster stood still, and with it the holder.
    const isQuick = performance.now() - lookedAt < BEAT_MS
    unchanged = seen === last && isQuick ? unchanged + 1 : 0
    if ((seen === FREE || unchanged >= LOOKS_BEFORE_TAKEOVER) && (await swap(db, seen, number))) break
    last = seen
    await sleep(BEAT_MS)
  }
  const beat = async () => {
    const next = newNumber()
    if (await swap(db, number, next).catch(() => false)) number = next
  }
  let beating = Promise.resolve()
  const timer = setInterval(() => {
    beating = beating.then(beat)
  }, BEAT_MS)
  return async () => {
    clearInterval(timer)
    await beating
    await swap(db, number, FREE)
  }
}

function newNumber(): number {
  return randomInt(1, 2 ** 31 - 1)
}

async function readNumber(db: Database): Promise<number> {
  const { rows } = await sql<{
    is_locked: number
  }>`select is_locked from ${sql.table(DEFAULT_MIGRATION_LOCK_TABLE)} where id = ${LOCK_ROW}`.execute(db)
  return rows[0]?.is_locked ?? FREE
}

/** @returns whether the number was the expected one, and is the next one now */
async function swap(db: Database, expected: number, next: number): Promise<boolean> {
  try {
    const { numAffectedRows } =
      await sql`update ${sql.table(DEFAULT_MIGRATION_LOCK_TABLE)} set is_locked = ${next} where id = ${LOCK_ROW} and is_locked = ${expected}`.execute(
        db,
      )
    return numAffectedRows === 1n
  } catch (error) {
    if (isConflict(error)) return false
    throw error
  }
}

/** A cluster runs changes of tables one after another, and refuses a statement that came between. */
async function untilNoConflict(work: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await work()
      return
    } catch (error) {
      if (attempt === 10 || !(isConflict(error) || isLockWaitEnded(error))) throw error
      await sleep(Math.random() * 10 * 2 ** attempt)
    }
  }
}
