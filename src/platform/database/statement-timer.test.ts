import { expect, it } from 'vitest'
import { operationOf } from './statement-timer.ts'

it.each([
  ['select 1', 'select'],
  ['  SELECT now()', 'select'],
  ['/*M!100100 set statement max_statement_time=1 for */ select /*+ MAX_EXECUTION_TIME(1000) */ 1', 'select'],
  ['insert into orders (id) values (1)', 'insert'],
  ['update orders set status = ?', 'update'],
  ['delete from idempotency_keys where 1 = 0', 'delete'],
  ['begin', 'begin'],
  ['begin immediate', 'begin'],
  ['commit', 'commit'],
  ['rollback', 'rollback'],
  ['set names utf8mb4', 'other'],
  ['selected', 'other'],
  ['', 'other'],
])('when a statement is %j, then its operation is %s', (sql, operation) => {
  expect(operationOf(sql)).toBe(operation)
})
