import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { sql } from 'kysely'
import { DEFAULT_MIGRATION_LOCK_TABLE } from 'kysely/migration'
import { dialectOf } from './dialect.ts'
import { isConflict, isLockWaitEnded } from './errors.ts'
import { SERVER_QUERY, serverOf } from './mysql-server.ts'
import type { Database } from './types.ts'

/** The id of the row that Kysely locks by. */
const LOCK_ROW = 'migration_lock'
const BEAT_MS = 1_000
/** A holder whose row does not change in this many looks is gone. */
const LOOKS_BEFORE_TAKEOVER = 15
const FREE = 0

/**
 * Runs work that changes the schema on one node of a cluster at a time. A server's own locks (`GET_LOCK`) are unknown to
 * other nodes, so the lock is a row that all nodes share. Its holder writes a new number into it every second. No clocks
 * are compared.
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

/** Whether the database is a node of a cluster. Its other nodes know nothing of the server's locks. */
export async function isCluster(db: Database): Promise<boolean> {
  if (dialectOf(db).engine === 'sqlite') return false
  const { rows } = await sql.raw(SERVER_QUERY).execute(db)
  const { isGalera, isGroupMember } = serverOf(rows)
  return isGalera || isGroupMember
}

/** Makes the table and row that Kysely locks by, with Kysely's own definition: either may come first. */
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

/** @returns gives the lease back */
async function takeLease(db: Database): Promise<() => Promise<void>> {
  let number = newNumber()
  for (let last = FREE, unchanged = 0; ; ) {
    const lookedAt = performance.now()
    const seen = await readNumber(db)
    // After a slow look, the cluster may have stood still, and the holder with it.
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

/** Replaces the number if it is the expected one. @returns whether it was */
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

/** A cluster changes tables one after another, and refuses a statement that meets another change. */
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
