import { CompiledQuery } from 'kysely'
import { expect, it, onTestFinished } from 'vitest'
import { recordedTracer } from '../../../testing/recorded-tracer.ts'
import { createTestDatabase, describeEachEngine } from '../../../testing/system.ts'
import { runPipeline } from './pipeline.ts'
import { summaryOf } from './round-trips.ts'
import { RestartTransaction, transact } from './transaction.ts'

describeEachEngine('a transaction below a span', (engine) => {
  async function traced() {
    const { db, drop } = await createTestDatabase(engine, { migrated: false })
    onTestFinished(drop)
    const { tracer, ended } = recordedTracer()
    const parent = tracer.start('above', undefined)
    return { db, parent, ended, namesBelow }
    function namesBelow({ spanId }: { spanId: string }) {
      return ended()
        .filter(({ parent: above }) => above?.spanId === spanId)
        .map(({ name }) => name)
    }
  }

  it('when it starts again, then each attempt has a span, and the first one says why', async () => {
    const { db, parent, ended } = await traced()
    let attempts = 0
    const work = async () => {
      if (++attempts === 1) throw new RestartTransaction()
      return 'done'
    }
    expect(await transact(db, work, parent)).toBe('done')
    const transactions = ended().filter(({ name }) => name === 'transaction')
    expect(transactions.map(({ error }) => error)).toEqual(['restart', undefined])
  })

  it('when statements are sent together, then they are one step, without their values', async () => {
    const { db, parent, ended, namesBelow } = await traced()
    const told = [CompiledQuery.raw('select ? as secret', ['hidden']), CompiledQuery.raw('select 2 as two', [])]
    await transact(db, (trx) => runPipeline(trx, told), parent)
    const [transaction] = ended().filter(({ name }) => name === 'transaction')
    if (transaction === undefined) throw new Error('no span of the transaction')
    const steps = engine === 'mysql' ? ['begin; select; select', 'commit'] : ['select; select', 'commit']
    expect(namesBelow(transaction.context)).toEqual(steps)
    expect(JSON.stringify(ended().map(({ name, attributes }) => [name, attributes]))).not.toContain('hidden')
  })

  it('when a statement fails, then its step has the engine’s code, and no message', async () => {
    const { db, parent, ended } = await traced()
    const work = (trx: typeof db) => runPipeline(trx, [CompiledQuery.raw('select * from nothing_here', [])])
    await expect(transact(db, work, parent)).rejects.toThrow('nothing_here')
    const failed = ended().filter(({ error }) => error !== undefined)
    expect(failed.length).toBeGreaterThan(0)
    const code = engine === 'mysql' ? 'ER_NO_SUCH_TABLE' : 'ERR_SQLITE_ERROR'
    expect(new Set(failed.map(({ error }) => error))).toEqual(new Set([code]))
  })

  it('when the transaction is over, then statements of another one are not below it', async () => {
    const { db, parent, ended } = await traced()
    await transact(db, async () => {}, parent)
    const before = ended().length
    await transact(db, (trx) => runPipeline(trx, [CompiledQuery.raw('select 1 as one', [])]))
    expect(ended()).toHaveLength(before)
  })
})

it.each([
  ['select `id` from `orders` where `id` in (?, ?) for update', 'select orders'],
  ['/*+ MAX_EXECUTION_TIME(500) */ select * from orders', 'select orders'],
  ['select /*+ SET_VAR(innodb_lock_wait_timeout=1) */ `id` from `products`', 'select products'],
  ['insert into "order_items" ("id") values (?)', 'insert order_items'],
  ['update products set stock = case id when ? then ? end where id in (?)', 'update products'],
  ['delete from idempotency_keys where expires_at < ?', 'delete idempotency_keys'],
  ['begin', 'begin'],
  ['begin immediate', 'begin'],
  ['do 0', 'do'],
  ['', ''],
])('when a statement is %j, then its summary is %j', (sql, summary) => {
  expect(summaryOf(sql)).toBe(summary)
})
