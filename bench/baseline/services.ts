import { Agent } from 'node:http'
import axios from 'axios'

const common = {
  timeout: 5_000,
  headers: { authorization: `Bearer ${process.env.SERVICE_TOKEN}` },
  httpAgent: new Agent({ keepAlive: true }),
}

export const customers = axios.create({
  ...common,
  baseURL: process.env.CUSTOMERS_API_BASE ?? 'http://localhost:3001',
})
export const orders = axios.create({ ...common, baseURL: process.env.ORDERS_API_BASE ?? 'http://localhost:3010' })
