import axios from 'axios'
import type { PoolConnection, ResultSetHeader, RowDataPacket } from 'mysql2/promise'
import serverless from 'serverless-http'
import { z } from 'zod'
import { answerErrors, createApp, HttpError, openPool, requireScope } from './express-app.ts'

const NewOrder = z.strictObject({
  customer_id: z.int().positive(),
  items: z
    .array(z.strictObject({ product_id: z.int().positive(), qty: z.int().min(1).max(1_000_000) }))
    .min(1)
    .max(200),
})
type NewOrder = z.output<typeof NewOrder>

interface Product extends RowDataPacket {
  id: number
  price_cents: number
  stock: number
}

const pool = openPool()
const app = createApp()
const customers = axios.create({
  baseURL: process.env.CUSTOMERS_API_BASE ?? 'http://localhost:3001',
  timeout: 5_000,
  headers: { authorization: `Bearer ${process.env.SERVICE_TOKEN}` },
})

app.post('/orders', requireScope('orders:write'), async (request, response) => {
  const input = NewOrder.parse(request.body)
  await customers.get(`/internal/customers/${input.customer_id}`).catch((error: unknown) => {
    if (axios.isAxiosError(error) && error.response?.status === 404) throw new HttpError(422, 'Customer not found')
    throw error
  })
  response.status(201).json(await inTransaction((connection) => placeOrder(connection, input)))
})
app.get('/orders/:id', requireScope('orders:read'), async (request, response) => {
  const [rows] = await pool.execute<RowDataPacket[]>('SELECT * FROM orders WHERE id = ?', [Number(request.params.id)])
  const [order] = rows
  if (order === undefined) throw new HttpError(404, 'Order not found')
  const [items] = await pool.execute<RowDataPacket[]>(
    'SELECT product_id, qty, unit_price_cents, subtotal_cents FROM order_items WHERE order_id = ?',
    [order.id],
  )
  response.json({ ...order, items })
})
app.use(answerErrors)

async function inTransaction<T>(work: (connection: PoolConnection) => Promise<T>): Promise<T> {
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

async function placeOrder(connection: PoolConnection, { customer_id, items }: NewOrder) {
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
    "INSERT INTO orders (customer_id, status, total_cents, created_at) VALUES (?, 'CREATED', ?, UTC_TIMESTAMP(3))",
    [customer_id, total_cents],
  )
  const values = lines.map((line) => [insertId, line.product_id, line.qty, line.unit_price_cents, line.subtotal_cents])
  await connection.query(
    'INSERT INTO order_items (order_id, product_id, qty, unit_price_cents, subtotal_cents) VALUES ?',
    [values],
  )
  return { id: insertId, customer_id, status: 'CREATED', total_cents, items: lines }
}

export const handler = serverless(app, { basePath: '/orders-api' })
