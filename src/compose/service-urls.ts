import { type Env, EnvError } from './env.ts'

/**
 * The addresses of the other services. A service without a variable is at its port on this machine.
 * @param needed the services without which the program can't work
 * @throws EnvError in production, when the variable of a needed service is missing
 */
export function findServiceUrls(env: Env, needed: readonly ('customers' | 'orders')[]) {
  const variables = {
    customers: { name: 'CUSTOMERS_API_BASE', base: env.customersBase },
    orders: { name: 'ORDERS_API_BASE', base: env.ordersBase },
  }
  const missing = needed.map((service) => variables[service]).filter(({ base }) => base === undefined)
  if (env.production && missing.length > 0) {
    throw new EnvError(missing.map(({ name }) => `${name}: must be set in production`))
  }
  return {
    customers: env.customersBase ?? `http://localhost:${env.ports.customers}`,
    orders: env.ordersBase ?? `http://localhost:${env.ports.orders}`,
  }
}
