import { createHash } from 'node:crypto'
import axios from 'axios'
import type { RequestHandler } from 'express'
import type { PoolConnection, RowDataPacket } from 'mysql2/promise'
import { z } from 'zod'
import { answerErrors, createApp, HttpError, openPool, requireScope } from './express-app.ts'
import { inTransaction, NewOrder, placeOrder } from './place-order.ts'
import { customers } from './services.ts'

const Params = z.object({ id: z.coerce.number().int().positive() })
const Page = z.object({ limit: z.coerce.number().int().min(1).max(100).default(20) })
const Key = z.string().min(1).max(255)

const ER_DUP_ENTRY = 1062

const pool = openPool()
// Locks existing rows, and no gaps between them.
pool.on('connection', (connection) => {
  connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED')
})
const app = createApp()

app.post('/orders', requireCaller('orders:write'), async (request, response) => {
  const input = NewOrder.parse(request.body)
  await customers.get(`/internal/customers/${input.customer_id}`).catch((error: unknown) => {
    if (axios.isAxiosError(error) && error.response?.status === 404) throw new HttpError(422, 'Customer not found')
    throw error
  })
  response.status(201).json(await inTransaction(pool, (connection) => placeOrder(connection, input)))
})

app.post('/orders/:id/confirm', requireCaller('orders:write'), async (request, response) => {
  const { id } = Params.parse(request.params)
  const key = Key.parse(request.headers['x-idempotency-key'])
  const hash = createHash('sha256').update(`confirm ${id}`).digest('hex')
  const body =
    (await findResponse(key, hash)) ??
    (await inTransaction(pool, (connection) => confirmOrder(connection, id, key, hash)).catch((error: unknown) => {
      if (isDuplicate(error)) return findResponse(key, hash)
      throw error
    }))
  response.type('json').send(body)
})

app.get('/orders/:id', requireCaller('orders:read'), async (request, response) => {
  const { id } = Params.parse(request.params)
  const [rows] = await pool.execute<RowDataPacket[]>('SELECT * FROM orders WHERE id = ?', [id])
  const [order] = rows
  if (order === undefined) throw new HttpError(404, 'Order not found')
  response.json({ ...order, items: await findItems(pool, id) })
})

app.get('/orders', requireCaller('orders:read'), async (request, response) => {
  const { limit } = Page.parse(request.query)
  const [data] = await pool.query<RowDataPacket[]>('SELECT * FROM orders ORDER BY created_at DESC, id DESC LIMIT ?', [
    limit,
  ])
  response.json({ data })
})

app.use(answerErrors)

app.listen(Number(process.env.PORT), '127.0.0.1')

/** Accepts the service token, or a token with this scope. */
function requireCaller(scope: string): RequestHandler {
  const others = requireScope(scope)
  return (request, response, next) => {
    if (request.headers.authorization === `Bearer ${process.env.SERVICE_TOKEN}`) next()
    else others(request, response, next)
  }
}

/** @returns the response, which is stored under the key in the same transaction */
async function confirmOrder(connection: PoolConnection, id: number, key: string, hash: string): Promise<string> {
  const [rows] = await connection.execute<RowDataPacket[]>('SELECT * FROM orders WHERE id = ? FOR UPDATE', [id])
  const [order] = rows
  if (order === undefined) throw new HttpError(404, 'Order not found')
  if (order.status === 'CANCELED') throw new HttpError(409, 'The order is canceled')
  if (order.status === 'CREATED') {
    await connection.execute(
      "UPDATE orders SET status = 'CONFIRMED', confirmed_at = UTC_TIMESTAMP(3), expires_at = NULL WHERE id = ?",
      [id],
    )
  }
  const items = await findItems(connection, id)
  const confirmed_at = order.confirmed_at ?? new Date()
  const body = JSON.stringify({ ...order, status: 'CONFIRMED', confirmed_at, expires_at: null, items })
  await connection.execute(
    `INSERT INTO idempotency_keys
       (operation, \`key\`, principal, request_hash, target_type, target_id, status, response_body, created_at, expires_at)
     VALUES ('orders.confirm', ?, 'all', ?, 'order', ?, 200, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL 24 HOUR)`,
    [key, hash, id, body],
  )
  return body
}

async function findItems(db: Pick<PoolConnection, 'execute'>, orderId: number): Promise<RowDataPacket[]> {
  const [items] = await db.execute<RowDataPacket[]>(
    'SELECT product_id, qty, unit_price_cents, subtotal_cents FROM order_items WHERE order_id = ? ORDER BY id',
    [orderId],
  )
  return items
}

async function findResponse(key: string, hash: string): Promise<string | undefined> {
  const [rows] = await pool.execute<RowDataPacket[]>(
    `SELECT request_hash, response_body FROM idempotency_keys
     WHERE operation = 'orders.confirm' AND \`key\` = ? AND principal = 'all' AND expires_at > UTC_TIMESTAMP(3)`,
    [key],
  )
  const [stored] = rows
  if (stored === undefined) return undefined
  if (stored.request_hash !== hash) throw new HttpError(422, 'The key was used for another request')
  return stored.response_body
}

function isDuplicate(error: unknown): boolean {
  return error instanceof Error && 'errno' in error && error.errno === ER_DUP_ENTRY
}
