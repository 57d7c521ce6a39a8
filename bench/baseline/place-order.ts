import type { Pool, PoolConnection, ResultSetHeader, RowDataPacket } from 'mysql2/promise'
import { z } from 'zod'
import { HttpError } from './express-app.ts'

export const NewOrder = z.strictObject({
  customer_id: z.int().positive(),
  items: z
    .array(z.strictObject({ product_id: z.int().positive(), qty: z.int().min(1).max(1_000_000) }))
    .min(1)
    .max(200),
})

interface Product extends RowDataPacket {
  id: number
  price_cents: number
  stock: number
}

const HOLD_MINUTES = 24 * 60

export async function inTransaction<T>(pool: Pool, work: (connection: PoolConnection) => Promise<T>): Promise<T> {
  const connection = await pool.getConnection()
  try {
    await connection.beginTransaction()
    const result = await work(connection)
    await connection.commit()
    return result
  } catch (error) {
    await connection.rollback()
    throw error
  } finally {
    connection.release()
  }
}

export async function placeOrder(connection: PoolConnection, { customer_id, items }: z.output<typeof NewOrder>) {
  const ids = [...new Set(items.map((item) => item.product_id))].sort((a, b) => a - b)
  const [rows] = await connection.query<Product[]>(
    'SELECT id, price_cents, stock FROM products WHERE id IN (?) ORDER BY id FOR UPDATE',
    [ids],
  )
  const products = new Map(rows.map((row) => [row.id, row]))
  const lines = items.map(({ product_id, qty }) => {
    const product = products.get(product_id)
    if (product === undefined) throw new HttpError(422, `Product ${product_id} not found`)
    if (product.stock < qty) throw new HttpError(409, `Not enough stock of product ${product_id}`)
    product.stock -= qty
    return { product_id, qty, unit_price_cents: product.price_cents, subtotal_cents: product.price_cents * qty }
  })
  const total_cents = lines.reduce((sum, line) => sum + line.subtotal_cents, 0)
  for (const { product_id, qty } of lines) {
    await connection.execute('UPDATE products SET stock = stock - ? WHERE id = ?', [qty, product_id])
  }
  const [{ insertId }] = await connection.execute<ResultSetHeader>(
    `INSERT INTO orders (customer_id, status, total_cents, created_at, expires_at)
     VALUES (?, 'CREATED', ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL ? MINUTE)`,
    [customer_id, total_cents, HOLD_MINUTES],
  )
  const values = lines.map((line) => [insertId, line.product_id, line.qty, line.unit_price_cents, line.subtotal_cents])
  await connection.query(
    'INSERT INTO order_items (order_id, product_id, qty, unit_price_cents, subtotal_cents) VALUES ?',
    [values],
  )
  return { id: insertId, customer_id, status: 'CREATED', total_cents, items: lines }
}
