import type { RequestHandler } from 'express'
import type { ResultSetHeader, RowDataPacket } from 'mysql2'
import serverless from 'serverless-http'
import { z } from 'zod'
import {
  answerErrors,
  createApp,
  HttpError,
  openPool,
  requireScope,
  requireServiceToken,
} from '../../baseline/express-app.ts'

const Params = z.object({ id: z.coerce.number().int().positive() })
const NewCustomer = z.strictObject({
  name: z.string().trim().min(1).max(200),
  email: z.email().max(254),
  phone: z.string().trim().min(1).max(32).nullish(),
})

const pool = openPool()
const app = createApp()

const getCustomer: RequestHandler = async (request, response) => {
  const { id } = Params.parse(request.params)
  response.json(await findCustomer(id))
}

async function findCustomer(id: number) {
  const [rows] = await pool.execute<RowDataPacket[]>(
    'SELECT id, name, email, phone, created_at, updated_at, version FROM customers WHERE id = ? AND deleted_at IS NULL',
    [id],
  )
  const [customer] = rows
  if (customer === undefined) throw new HttpError(404, 'Customer not found')
  return customer
}

app.get('/customers/:id', requireScope('customers:read'), getCustomer)
app.get('/internal/customers/:id', requireServiceToken, getCustomer)
app.post('/customers', requireScope('customers:write'), async (request, response) => {
  const { name, email, phone = null } = NewCustomer.parse(request.body)
  const [{ insertId }] = await pool.execute<ResultSetHeader>(
    'INSERT INTO customers (name, email, email_key, phone, created_at, updated_at) VALUES (?, ?, ?, ?, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))',
    [name, email, email.toLowerCase(), phone],
  )
  response.status(201).json(await findCustomer(insertId))
})
app.use(answerErrors)

export const handler = serverless(app, { basePath: '/customers-api' })
