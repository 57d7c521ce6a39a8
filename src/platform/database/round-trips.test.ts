import { expect, it } from 'vitest'
import { summaryOf } from './round-trips.ts'

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
