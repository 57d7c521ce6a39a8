import { createPool } from 'mysql2/promise'
import { type Caller, generateLoads, type Load } from '../caller-loop.ts'
import { type Line, WORKLOADS } from '../workloads.ts'
import { createBatches } from './batches.ts'
import { orderInOneTransaction } from './one-transaction.ts'
import { orderInTwoTransactions } from './two-transactions.ts'

// The limit of the database: orders without HTTP. Each connection of the load is one loop.

const MAX_CONNECTIONS = 64

const { DB_HOST, DB_PORT, DB_USER, DB_PASS, DB_NAME } = process.env
const pool = createPool({
  host: DB_HOST ?? 'localhost',
  port: Number(DB_PORT ?? 3306),
  user: DB_USER ?? 'root',
  password: DB_PASS ?? '',
  database: DB_NAME ?? 'b2b',
  connectionLimit: MAX_CONNECTIONS,
  charset: 'utf8mb4',
  timezone: 'Z',
  dateStrings: true,
  multipleStatements: true,
})
pool.on('connection', (connection) => {
  connection.query('set session transaction isolation level read committed')
})

const alone = (order: typeof orderInOneTransaction) => async (customerId: number, lines: readonly Line[]) => {
  const connection = await pool.getConnection()
  try {
    await order(connection, customerId, lines)
  } finally {
    connection.release()
  }
}
const FORMS: Record<string, (customerId: number, lines: readonly Line[]) => Promise<void>> = {
  'one-transaction': alone(orderInOneTransaction),
  'two-transactions': alone(orderInTwoTransactions),
  batches: createBatches(pool),
}
const order = FORMS[process.argv[2] ?? ''] ?? alone(orderInTwoTransactions)

generateLoads(openCaller)

function openCaller({ workload, fixture }: Load): Caller {
  const linesOf = WORKLOADS.find(({ name }) => name === workload)?.lines
  if (linesOf === undefined) throw new Error(`no loop for ${workload}`)
  return {
    async act() {
      await order(fixture.customerId, linesOf(fixture))
      return { placed: true }
    },
    close() {},
  }
}
