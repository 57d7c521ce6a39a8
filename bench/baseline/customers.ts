import type { RowDataPacket } from 'mysql2'
import { z } from 'zod'
import { answerErrors, createApp, HttpError, openPool, requireServiceToken } from './express-app.ts'

const Params = z.object({ id: z.coerce.number().int().positive() })

const pool = openPool()
const app = createApp()

app.get('/internal/customers/:id', requireServiceToken, async (request, response) => {
  const { id } = Params.parse(request.params)
  const [rows] = await pool.execute<RowDataPacket[]>(
    'SELECT id, name, email, phone, created_at, updated_at, version FROM customers WHERE id = ? AND deleted_at IS NULL',
    [id],
  )
  const [customer] = rows
  if (customer === undefined) throw new HttpError(404, 'Customer not found')
  response.json(customer)
})
app.use(answerErrors)

app.listen(Number(process.env.PORT), '127.0.0.1')
