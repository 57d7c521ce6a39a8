import { expect, it } from 'vitest'
import { hideValues, requirePlainValues } from './statement-values.ts'

const SQL = 'insert into customers (name, email) values (?, ?)'

/** An error as mysql2 throws it, after its values were masked. */
function hidden(message: string, values: readonly unknown[] = []) {
  const sql = `insert into customers (name, email) values (${values.join(', ')})`
  const error = Object.assign(new Error(message), { sql, sqlMessage: message })
  hideValues(error, SQL, values)
  return error
}

it.each([
  ["Duplicate entry 'ops@acme.com' for key 'customers_email_key'", "Duplicate entry '?' for key 'customers_email_key'"],
  ["Duplicate entry 'o'b' for key 'x' for key 'PRIMARY'", "Duplicate entry '?' for key 'PRIMARY'"],
  ["Data too long for column 'name' at row 1", "Data too long for column 'name' at row 1"],
  [
    "Incorrect string value: '\\xE7\\xB8' for column 'name' at row 1",
    "Incorrect string value: '?' for column 'name' at row 1",
  ],
  ["You have an error near 'Ann', 'ann@acme.com')' at line 1", "You have an error near '?' at line 1"],
  [
    "Incorrect integer value: 'Ann' for column `b2b`.`c`.`id` at row 1",
    "Incorrect integer value: '?' for column `b2b`.`c`.`id` at row 1",
  ],
  ["Truncated incorrect DOUBLE value: 'Ann'", "Truncated incorrect DOUBLE value: '?'"],
])('when the server reports %s, then it is logged as %s', (message, told) => {
  const error = hidden(message)
  expect([error.message, error.sqlMessage]).toEqual([told, told])
  expect(error.stack).toContain(told)
})

it('when a message has a value in another format, then the value is masked too', () => {
  const error = hidden('No luck with ann@acme.com today', ['Ann', 'ann@acme.com'])
  expect(JSON.stringify([error.message, error.stack, error.sqlMessage, error.sql])).not.toContain('ann@acme.com')
  expect(error.sql).toBe(SQL)
})

it('when a value is the name of an index, then the name of the index stays readable', () => {
  const { message } = hidden("Duplicate entry 'x' for key 'customers_email_key'", ['customers_email_key', "key 'sku'"])
  expect(message).toBe("Duplicate entry '?' for key 'customers_email_key'")
})

it.each([[undefined], [{ a: 1 }], [['a']], [new Date()], [Buffer.from('a')], [Number.NaN], [Infinity], [() => 1]])(
  'when a value is %j, then it is refused',
  (value) => {
    expect(() => requirePlainValues(['a', value])).toThrow(TypeError)
  },
)

it('when values are plain, then they are accepted', () => {
  expect(() => requirePlainValues(['a', 1, 1.5, 2n, true, null, ''])).not.toThrow()
})
