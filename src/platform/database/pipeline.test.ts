import { randomBytes } from 'node:crypto'
import { type CompiledQuery, type Selectable, sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { createTestDatabase, describeEachEngine, type TestDatabase } from '../../../testing/system.ts'
import { parseEnv } from '../../compose/env.ts'
import { bulkInsert, chunks } from './bulk-insert.ts'
import type { Engine } from './dialect.ts'
import { isDuplicate } from './errors.ts'
import { openDatabase } from './open.ts'
import { enqueueWrite, pipeline } from './pipeline.ts'
import type { Tables } from './tables.ts'
import { transact } from './transaction.ts'
import type { Database } from './types.ts'

const AT = '2026-02-01 10:00:00.000'

function unique(): string {
  return randomBytes(8).toString('hex')
}

interface Databases {
  /** A single connection, so that state left by one transaction meets the next one. */
  db: Database
  /** A second process with the same data. */
  other: Database
}

/** A fresh database, opened twice, for the tests of the surrounding suite. */
function useDatabases(engine: Engine, variables: Record<string, string> = {}): Databases {
  const databases: Partial<Databases> = {}
  let made: TestDatabase
  beforeAll(async () => {
    made = await createTestDatabase(engine)
    databases.other = made.db
    databases.db = await openDatabase(parseEnv({ ...made.variables, DB_POOL: '1', ...variables }).database)
  })
  afterAll(async () => {
    await databases.db?.destroy()
    await made.drop()
  })
  const opened = (database: Database | undefined) => {
    if (database === undefined) throw new Error('the databases may be used only inside tests')
    return database
  }
  return {
    get db() {
      return opened(databases.db)
    },
    get other() {
      return opened(databases.other)
    },
  }
}

const PRODUCT_COLUMNS = ['sku', 'name', 'price_cents', 'stock', 'version', 'created_at', 'updated_at'] as const

type NewProduct = Pick<Selectable<Tables['products']>, (typeof PRODUCT_COLUMNS)[number]>

function product(fields: Partial<NewProduct> = {}): NewProduct {
  const sku = unique()
  return { sku, name: sku, price_cents: 1, stock: 10, version: 1, created_at: AT, updated_at: AT, ...fields }
}

function inserting(...products: NewProduct[]): CompiledQuery {
  return bulkInsert('products', PRODUCT_COLUMNS, products)
}

function taking(db: Database, sku: string, quantity: number): CompiledQuery {
  return db
    .updateTable('products')
    .set((eb) => ({ stock: eb('stock', '-', quantity) }))
    .where('sku', '=', sku)
    .compile()
}

const KEY_COLUMNS = ['operation', 'key', 'principal', 'request_hash', 'target_type', 'target_id'] as const
const RESPONSE_COLUMNS = ['status', 'response_body', 'created_at', 'expires_at'] as const

/** An idempotency key with this response: a column for any text, beside one whose name is an SQL keyword. */
function record(response_body: string, key = unique()) {
  const record = { operation: 'tests', key, principal: 'tests', request_hash: '0'.repeat(64) }
  const response = { status: 201, response_body, created_at: AT, expires_at: '2099-01-01 00:00:00.000' }
  return { ...record, target_type: 'test', target_id: 1, ...response }
}

function recording(...records: ReturnType<typeof record>[]): CompiledQuery {
  return bulkInsert('idempotency_keys', [...KEY_COLUMNS, ...RESPONSE_COLUMNS], records)
}

/** The stored responses of these keys; undefined where there is none. */
async function responsesTo(db: Database, ...keys: string[]): Promise<(string | undefined)[]> {
  const rows = await db
    .selectFrom('idempotency_keys')
    .select(['key', 'response_body'])
    .where('key', 'in', keys)
    .execute()
  const texts = new Map(rows.map((row) => [row.key, row.response_body]))
  return keys.map((key) => texts.get(key))
}

function withSkus(db: Database, ...skus: string[]) {
  return db.selectFrom('products').selectAll().where('sku', 'in', skus).orderBy('id')
}

/** The stock of those products that exist, in the order they were created. */
async function stocks(db: Database, ...products: NewProduct[]): Promise<number[]> {
  const rows = await withSkus(db, ...products.map(({ sku }) => sku)).execute()
  return rows.map(({ stock }) => stock)
}

/** The connection is in no transaction and has no queued write: what it writes now is visible to all at once. */
async function expectClean({ db, other }: Databases): Promise<void> {
  const one = product()
  await db.executeQuery(inserting(one))
  expect(await stocks(other, one)).toEqual([10])
}

describeEachEngine('a queued write', (engine) => {
  const databases = useDatabases(engine)

  it('when the transaction commits, then the write is done', async () => {
    const { db, other } = databases
    const one = product()
    await db.transaction().execute((trx) => enqueueWrite(trx, inserting(one)))
    expect(await stocks(other, one)).toEqual([10])
    await expectClean(databases)
  })

  it('when the transaction reads or writes after it, then the queued write comes first', async () => {
    const { db } = databases
    const [one, two] = [product(), product()]
    await db.transaction().execute(async (trx) => {
      await enqueueWrite(trx, inserting(one))
      expect(await stocks(trx, one)).toEqual([10])
      await enqueueWrite(trx, inserting(two))
      await enqueueWrite(trx, taking(trx, two.sku, 4))
      const { numAffectedRows } = await trx.executeQuery(taking(trx, two.sku, 1))
      expect(numAffectedRows).toBe(1n)
      expect(await stocks(trx, one, two)).toEqual([10, 5])
    })
    expect(await stocks(db, one, two)).toEqual([10, 5])
  })

  it('when several are queued, then they are done in order', async () => {
    const { db } = databases
    const one = product()
    await db.transaction().execute(async (trx) => {
      await enqueueWrite(trx, inserting(one))
      for (const quantity of [9, -5, 6]) await enqueueWrite(trx, taking(trx, one.sku, quantity))
    })
    expect(await stocks(db, one)).toEqual([0])
  })

  it('when an insert comes after it, then its ids and counts are those of the insert', async () => {
    const { db } = databases
    const [one, two, three] = [product(), product(), product()]
    await db.transaction().execute(async (trx) => {
      await enqueueWrite(trx, inserting(one))
      const { insertId, numAffectedRows } = await trx.executeQuery(inserting(two, three))
      const ids = (await withSkus(trx, two.sku, three.sku).execute()).map(({ id }) => id)
      expect(insertId).toBe(BigInt((engine === 'mysql' ? ids.at(0) : ids.at(-1)) ?? 0))
      expect(numAffectedRows).toBe(2n)
    })
  })

  it('when the transaction is not committed yet, then no other connection sees it', async () => {
    const { db, other } = databases
    const one = product()
    await db.transaction().execute(async (trx) => {
      await enqueueWrite(trx, inserting(one))
      expect(await stocks(trx, one)).toEqual([10])
      expect(await stocks(other, one)).toEqual([])
    })
    expect(await stocks(other, one)).toEqual([10])
  })

  it('when many transactions queue writes at once, then each does its own', async () => {
    const { other } = databases
    const pairs = Array.from({ length: 30 }, () => [product(), product()] as const)
    const refused = new Error('every third')
    const outcomes = await Promise.allSettled(
      pairs.map(([one, two], i) =>
        other.transaction().execute(async (trx) => {
          await enqueueWrite(trx, inserting(one))
          await enqueueWrite(trx, inserting(two))
          if (i % 3 === 0) throw refused
          return stocks(trx, one, two)
        }),
      ),
    )
    for (const [i, outcome] of outcomes.entries()) {
      expect(outcome).toEqual(
        i % 3 === 0 ? { status: 'rejected', reason: refused } : { status: 'fulfilled', value: [10, 10] },
      )
      expect(await stocks(other, ...(pairs[i] ?? []))).toEqual(i % 3 === 0 ? [] : [10, 10])
    }
  })
})

describeEachEngine('a queued write that fails', (engine) => {
  const databases = useDatabases(engine)

  /** What cannot be written, and how its error is recognized. */
  const faults: [string, (db: Database, taken: NewProduct) => CompiledQuery, (error: unknown) => boolean][] = [
    [
      'a row that is there already',
      (_, taken) => inserting(product({ sku: taken.sku })),
      (error) => isDuplicate(error, { index: 'products_sku', column: 'products.sku' }),
    ],
    [
      'a stock below zero',
      (db, taken) => taking(db, taken.sku, 11),
      (error) =>
        /constraint.*products_stock_check|products_stock_check.*violated|CHECK constraint/i.test(String(error)),
    ],
    [
      'a row of a product that is not there',
      () =>
        bulkInsert(
          'stock_adjustments',
          ['product_id', 'delta', 'reason', 'principal', 'created_at'],
          [{ product_id: 987_654_321, delta: 1, reason: 'none', principal: 'tests', created_at: AT }],
        ),
      (error) => /foreign key constraint/i.test(String(error)),
    ],
  ]

  async function takenProduct(): Promise<NewProduct> {
    const taken = product()
    await databases.other.executeQuery(inserting(taken))
    return taken
  }

  async function refusalOf(work: Promise<unknown>): Promise<unknown> {
    return work.then(
      () => expect.unreachable('it was not refused'),
      (error: unknown) => error,
    )
  }

  describe.each(faults)('for %s', (_, faulty, isTheFault) => {
    it('when the transaction commits, then that fails, says why, and nothing is left', async () => {
      const { db, other } = databases
      const [taken, before, after] = [await takenProduct(), product(), product()]
      const refusal = await refusalOf(
        db.transaction().execute(async (trx) => {
          await enqueueWrite(trx, inserting(before))
          await enqueueWrite(trx, faulty(trx, taken))
          await enqueueWrite(trx, inserting(after))
        }),
      )
      expect(isTheFault(refusal), String(refusal)).toBe(true)
      expect(await stocks(other, taken, before, after)).toEqual([10])
      await expectClean(databases)
    })

    it('when the transaction reads or writes next, then that fails, and nothing is left', async () => {
      const { db, other } = databases
      const ways = [
        (trx: Database, one: NewProduct) => stocks(trx, one),
        (trx: Database, one: NewProduct) => trx.executeQuery(inserting(one)),
        (trx: Database, one: NewProduct) => pipeline(trx, withSkus(trx, one.sku).compile(), inserting(one)),
      ]
      for (const useAgain of ways) {
        const [taken, before, after] = [await takenProduct(), product(), product()]
        const refusal = await refusalOf(
          db.transaction().execute(async (trx) => {
            await trx.executeQuery(inserting(before))
            await enqueueWrite(trx, faulty(trx, taken))
            await useAgain(trx, after)
            expect.unreachable('what comes after it must not be done')
          }),
        )
        expect(isTheFault(refusal), String(refusal)).toBe(true)
        expect(await stocks(other, taken, before, after)).toEqual([10])
      }
      await expectClean(databases)
    })
  })
})

describeEachEngine('a transaction', (engine) => {
  const databases = useDatabases(engine)

  it('when it does nothing, then it commits, and the next one is not affected', async () => {
    const { db } = databases
    expect(await db.transaction().execute(async () => 'nothing')).toBe('nothing')
    await expectClean(databases)
  })

  it('when it fails before its first statement, then the next one is not affected', async () => {
    const { db } = databases
    const failing = db.transaction().execute(async () => {
      throw new Error('at once')
    })
    await expect(failing).rejects.toThrow('at once')
    await expectClean(databases)
  })

  it('when it is rolled back with queued writes, then they are discarded', async () => {
    const { db, other } = databases
    const [undone, waiting, next] = [product(), product(), product()]
    const failing = db.transaction().execute(async (trx) => {
      await trx.executeQuery(inserting(undone))
      await enqueueWrite(trx, inserting(waiting))
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    await expectClean(databases)
    await db.transaction().execute((trx) => enqueueWrite(trx, inserting(next)))
    expect(await stocks(other, undone, waiting, next)).toEqual([10])
  })

  it('when it is rolled back with a faulty queued write, then its own error wins', async () => {
    const { db, other } = databases
    const [taken, undone] = [product(), product()]
    await db.executeQuery(inserting(taken))
    const failing = db.transaction().execute(async (trx) => {
      await trx.executeQuery(inserting(undone))
      // SQLite writes at once, and so refuses it here.
      await enqueueWrite(trx, inserting(taken)).catch(() => {})
      throw new Error('no')
    })
    await expect(failing).rejects.toThrow('no')
    expect(await stocks(other, undone)).toEqual([])
    await expectClean(databases)
  })

  it('when it only reads, then its reads are of one transaction, and nothing is left', async () => {
    const { db } = databases
    const one = product()
    await db.executeQuery(inserting(one))
    const read = await db.transaction().execute(async (trx) => [await stocks(trx, one), await stocks(trx, one)])
    expect(read).toEqual([[10], [10]])
    await expectClean(databases)
  })
})

describeEachEngine('two pipelined queries', (engine) => {
  const databases = useDatabases(engine)
  const nobody = () => withSkus(databases.db, unique()).compile()
  const skusOf = (rows: { sku: string }[]) => rows.map(({ sku }) => sku)

  it('when both have rows, then each gets its own, in order', async () => {
    const { db } = databases
    const [one, two, three] = [product(), product(), product()]
    await db.executeQuery(inserting(one, two, three))
    const [first, second] = await pipeline(
      db,
      withSkus(db, three.sku, one.sku).compile(),
      db.selectFrom('products').select(['sku', 'stock']).where('sku', '=', two.sku).compile(),
    )
    expect(skusOf(first)).toEqual([one.sku, three.sku])
    expect(second).toEqual([{ sku: two.sku, stock: 10 }])
  })

  it('when the first, the second or both are empty, then that result is empty', async () => {
    const { db } = databases
    const one = product()
    await db.executeQuery(inserting(one))
    const some = withSkus(db, one.sku).compile()
    for (const inner of [db, 'in a transaction'] as const) {
      const ask = async (on: Database) => [
        await pipeline(on, some, nobody()),
        await pipeline(on, nobody(), some),
        await pipeline(on, nobody(), nobody()),
      ]
      const responses = await (inner === db ? ask(db) : db.transaction().execute(ask))
      expect(responses.map((pair) => pair.map(skusOf))).toEqual([
        [[one.sku], []],
        [[], [one.sku]],
        [[], []],
      ])
    }
  })

  it('when writes are queued before them, then both see those', async () => {
    const { db } = databases
    const [one, two] = [product(), product()]
    await db.transaction().execute(async (trx) => {
      await enqueueWrite(trx, inserting(one, two))
      await enqueueWrite(trx, taking(trx, two.sku, 3))
      const [first, second] = await pipeline(trx, withSkus(trx, one.sku).compile(), withSkus(trx, two.sku).compile())
      expect([first, second].map((rows) => rows.map(({ sku, stock }) => ({ sku, stock })))).toEqual([
        [{ sku: one.sku, stock: 10 }],
        [{ sku: two.sku, stock: 7 }],
      ])
      const [none, both] = await pipeline(trx, nobody(), withSkus(trx, one.sku, two.sku).compile())
      expect([none, skusOf(both)]).toEqual([[], [one.sku, two.sku]])
    })
  })

  it('when one of them fails, then both fail, and the transaction is rolled back', async () => {
    const { db, other } = databases
    const one = product()
    const broken = sql<{ n: number }>`select n from no_such_table`.compile(db)
    for (const pair of [[nobody(), broken] as const, [broken, nobody()] as const]) {
      const failing = db.transaction().execute(async (trx) => {
        await enqueueWrite(trx, inserting(one))
        await pipeline(trx, ...pair)
      })
      await expect(failing).rejects.toThrow(/no_such_table/)
      expect(await stocks(other, one)).toEqual([])
      await expectClean(databases)
    }
  })
})

const HOSTILE = [
  "'",
  "''",
  '"',
  '`',
  '\\',
  "\\'",
  "\\\\'",
  "'; drop table products; -- ",
  "\\'; drop table products; -- ",
  '; commit; begin; ',
  '/* */ # --',
  '?',
  "'?'",
  '??',
  '? ? ?;?',
  ':name $1 @x %s {0}',
  'before\u0000after',
  '\u0000',
  '\b\t\n\r\u001a',
  '🏭 株式会社 مكتب é e\u0301',
  '\u2028\u2029\ufeff\u200d',
  ' spaces at both ends ',
  '',
]

describeEachEngine('an insert of many rows', (engine) => {
  const databases = useDatabases(engine)
  it.each(HOSTILE)('when a text is %j, then it is stored exactly', async (text) => {
    const { db } = databases
    const one = record(text)
    await db.executeQuery(recording(one))
    expect(await responsesTo(db, one.key)).toEqual([text])
  })

  it('when hostile texts are in pipelined statements, then each is stored exactly', async () => {
    const { db, other } = databases
    const records = HOSTILE.map((text) => record(text))
    const named = HOSTILE.map((name) => product({ name }))
    const back = HOSTILE.toReversed().map((text) => record(text))
    await db.transaction().execute(async (trx) => {
      await enqueueWrite(trx, recording(...records))
      await enqueueWrite(trx, inserting(...named))
      await enqueueWrite(trx, recording(...back))
      const rows = await withSkus(trx, ...named.map(({ sku }) => sku)).execute()
      expect(rows.map(({ name }) => name)).toEqual(HOSTILE)
    })
    const keys = [...records, ...back].map(({ key }) => key)
    expect(await responsesTo(other, ...keys)).toEqual([...HOSTILE, ...HOSTILE.toReversed()])
  })

  it('when texts are very long, then they are stored exactly, alone and beside others', async () => {
    const { db, other } = databases
    const long = 'a?\'\\;"🏭\u0000'.repeat(150_000)
    const records = [record(long), record('short'), record(long)]
    await db.transaction().execute(async (trx) => {
      await enqueueWrite(trx, recording(...records))
      await enqueueWrite(trx, inserting(product()))
    })
    const texts = await responsesTo(other, ...records.map(({ key }) => key))
    expect(texts.map((text) => text?.length)).toEqual([long.length, 5, long.length])
    expect(texts[0] === long && texts[2] === long).toBe(true)
  })

  it('when values are null, zero, negative, or extreme, then they are stored exactly', async () => {
    const { db } = databases
    const customer = { name: 'A', phone: null, version: 1, created_at: AT, updated_at: AT, deleted_at: null }
    const columns = [
      'name',
      'email',
      'email_key',
      'phone',
      'version',
      'created_at',
      'updated_at',
      'deleted_at',
    ] as const
    const email = `${unique()}@example.com`
    await db.executeQuery(bulkInsert('customers', columns, [{ ...customer, email, email_key: email }]))
    const row = await db.selectFrom('customers').selectAll().where('email', '=', email).executeTakeFirstOrThrow()
    expect(row).toMatchObject({ ...customer, email, email_key: email, id: expect.any(Number) })

    const numbers = [
      product({ price_cents: Number.MAX_SAFE_INTEGER, stock: 0 }),
      product({ price_cents: 0, version: -1 }),
    ]
    await db.executeQuery(inserting(...numbers))
    const rows = await withSkus(db, ...numbers.map(({ sku }) => sku)).execute()
    expect(rows).toMatchObject(numbers)
  })

  it('when many rows are inserted at once, then they are stored in order', async () => {
    const { db } = databases
    const products = Array.from({ length: 2_500 }, (_, i) => product({ stock: i }))
    for (const some of chunks(products, 1_000)) await db.executeQuery(inserting(...some))
    const rows = await db.selectFrom('products').select(['sku', 'stock']).orderBy('id', 'desc').limit(2_500).execute()
    expect(rows.toReversed()).toEqual(products.map(({ sku, stock }) => ({ sku, stock })))
  })
})

describe('chunks', () => {
  it.each([
    [[], 2, []],
    [[1], 2, [[1]]],
    [[1, 2], 2, [[1, 2]]],
    [[1, 2, 3], 2, [[1, 2], [3]]],
    [[1, 2, 3], 1, [[1], [2], [3]]],
  ])('when %j is cut by %d, then it is %j', (rows, size, expected) => {
    expect([...chunks<number>(rows, size)]).toEqual(expected)
  })
})

describeEachEngine('work in a transaction', (engine) => {
  const databases = useDatabases(engine)
  /** Work whose first try does not see what another process wrote meanwhile. */
  function workOf(key: string, one: NewProduct) {
    const tries: number[] = []
    const work = async (trx: Database) => {
      tries.push(tries.length + 1)
      const [response] = tries.length === 1 ? [] : await responsesTo(trx, key)
      if (response !== undefined) return response
      await enqueueWrite(trx, inserting(one))
      await enqueueWrite(trx, recording(record('own', key)))
      return 'own'
    }
    return { work, tries }
  }

  it('when its key was written by another one first, then it restarts and finds that', async () => {
    const { db, other } = databases
    const [key, one] = [unique(), product()]
    await other.executeQuery(recording(record('of the other', key)))
    const { work, tries } = workOf(key, one)
    expect(await transact(db, work)).toBe('of the other')
    expect(tries).toEqual([1, 2])
    expect(await stocks(other, one)).toEqual([])
    await expectClean(databases)
  })

  it('when ten work on one key at once, then it is done once, with one response', async () => {
    const { other } = databases
    const key = unique()
    const products = Array.from({ length: 10 }, () => product())
    const responses = await Promise.all(
      products.map((one, i) =>
        transact(other, async (trx) => {
          const [response] = await responsesTo(trx, key)
          if (response !== undefined) return response
          await enqueueWrite(trx, inserting(one))
          await enqueueWrite(trx, recording(record(`of ${i}`, key)))
          return `of ${i}`
        }),
      ),
    )
    expect(new Set(responses).size).toBe(1)
    expect(await stocks(other, ...products)).toEqual([10])
    expect(await responsesTo(other, key)).toEqual([responses[0]])
  })

  it('when a row other than a key exists already, then it is not retried', async () => {
    const { db } = databases
    const one = product()
    await db.executeQuery(inserting(one))
    let tries = 0
    const working = transact(db, async (trx) => {
      tries++
      await enqueueWrite(trx, inserting(product({ sku: one.sku })))
    })
    await expect(working).rejects.toThrow(/duplicate|unique/i)
    expect(tries).toBe(1)
  })

  // SQLite has one writer at a time, and no connection that could be lost.
  if (engine === 'mysql') {
    it('when two transactions deadlock with queued writes, then both are done, once each', async () => {
      const { other } = databases
      const [a, b] = [product(), product()]
      await other.executeQuery(inserting(a, b))
      const bothBegan = Promise.withResolvers<void>()
      let began = 0
      const takeOfBoth = (first: NewProduct, second: NewProduct) =>
        transact(other, async (trx) => {
          await enqueueWrite(trx, taking(trx, first.sku, 1))
          expect(await stocks(trx, first)).toHaveLength(1)
          if (++began === 2) bothBegan.resolve()
          await bothBegan.promise
          await enqueueWrite(trx, taking(trx, second.sku, 1))
        })
      await Promise.all([takeOfBoth(a, b), takeOfBoth(b, a)])
      expect(began).toBeGreaterThan(2)
      expect(await stocks(other, a, b)).toEqual([8, 8])
    })

    it('when the connection is lost with queued writes, then the work is redone, once', async () => {
      const { db, other } = databases
      const one = product()
      let tries = 0
      await transact(db, async (trx) => {
        if (++tries === 1) {
          const { rows } = await sql<{ id: number }>`select connection_id() as id`.execute(trx)
          await sql`kill ${sql.lit(rows[0]?.id ?? 0)}`.execute(other)
        }
        await enqueueWrite(trx, inserting(one))
      })
      expect(tries).toBe(2)
      expect(await stocks(other, one)).toEqual([10])
      await expectClean(databases)
    })
  }
})

describe.each(inject('mysql') === null ? [] : ['MySQL'])('a packet that is cut off on %s', () => {
  const databases = useDatabases('mysql')

  /**
   * Sends three writes, and kills the second one while it waits for a lock.
   * @returns which of the others were done
   */
  async function leftBy(send: (writes: CompiledQuery[]) => Promise<unknown>, kill: 'query' | 'connection') {
    const { db, other } = databases
    const [before, locked, after] = [product(), product(), product()]
    await other.executeQuery(inserting(locked))
    const { rows } = await sql<{ id: number }>`select connection_id() as id`.execute(db)
    const id = rows[0]?.id
    await other.transaction().execute(async (trx) => {
      await trx.executeQuery(taking(trx, locked.sku, 1))
      const sent = send([inserting(before), taking(db, locked.sku, 1), inserting(after)]).then(
        () => 'done',
        () => 'cut off',
      )
      // The server caches this table for 0.1 s after each read.
      const state = sql<{ state: string }>`
        select trx_state as state from information_schema.innodb_trx where trx_mysql_thread_id = ${id}`
      await expect
        .poll(async () => (await state.execute(other)).rows[0]?.state, { timeout: 10_000, interval: 200 })
        .toBe('LOCK WAIT')
      await sql.raw(`kill ${kill} ${id}`).execute(other)
      expect(await sent).toBe('cut off')
    })
    const skus = await other.selectFrom('products').select('sku').where('sku', 'in', [before.sku, after.sku]).execute()
    return { before: skus.some(({ sku }) => sku === before.sku), after: skus.some(({ sku }) => sku === after.sku) }
  }

  const inTransaction = (writes: CompiledQuery[]) =>
    databases.db.transaction().execute(async (trx) => {
      for (const write of writes) await enqueueWrite(trx, write)
    })

  it('when the statements have no transaction, then the first one stays', async () => {
    const left = await leftBy((writes) => pipeline(databases.db, ...writes), 'query')
    expect(left).toEqual({ before: true, after: false })
  })

  it.each(['query', 'connection'] as const)('when KILL %s comes mid-way, then nothing is left', async (kill) => {
    expect(await leftBy(inTransaction, kill)).toEqual({ before: false, after: false })
    await expectClean(databases)
  })
})
