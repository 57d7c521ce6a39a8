import { type Env, EnvError } from './env.ts'

/**
 * Where the other services are: what their variables say, or outside production their ports on this machine.
 * @param needed those without which the program can't work
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
