import axios from 'axios'
import type { RowDataPacket } from 'mysql2/promise'
import serverless from 'serverless-http'
import { answerErrors, createApp, HttpError, openPool, requireScope } from '../../baseline/express-app.ts'
import { inTransaction, NewOrder, placeOrder } from '../../baseline/place-order.ts'
import { customers } from '../../baseline/services.ts'

const pool = openPool()
const app = createApp()

app.post('/orders', requireScope('orders:write'), async (request, response) => {
  const input = NewOrder.parse(request.body)
  await customers.get(`/internal/customers/${input.customer_id}`).catch((error: unknown) => {
    if (axios.isAxiosError(error) && error.response?.status === 404) throw new HttpError(422, 'Customer not found')
    throw error
  })
  response.status(201).json(await inTransaction(pool, (connection) => placeOrder(connection, input)))
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

export const handler = serverless(app, { basePath: '/orders-api' })
