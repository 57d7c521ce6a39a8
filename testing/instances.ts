import { type ApiClient, apiClient } from './api-client.ts'
import { type Variables, variablesOf } from './fixture.ts'
import { addressOf, startProgram } from './programs.ts'
import type { TestSystem } from './system.ts'

export interface Instance {
  api: ApiClient
  /** Sends SIGKILL, as the kernel does when memory runs out. */
  kill(): Promise<void>
}

/** Starts another instance of a service over the system's database, until the test ends. */
export async function startInstance(
  service: 'orders' | 'orchestrator',
  system: TestSystem,
  variables: Variables = {},
): Promise<Instance> {
  const program = startProgram(`start:${service}`, {
    NODE_ENV: 'test',
    PORT: '0',
    CUSTOMERS_API_BASE: system.customers.base,
    ORDERS_API_BASE: system.orders.base,
    ORCHESTRATOR_PUBLIC: 'true',
    ...variablesOf(system.env),
    ...variables,
  })
  const kill = async () => {
    process.kill(program.pid, 'SIGKILL')
    await program.ended
  }
  return { api: apiClient(await addressOf(program), await system.token()), kill }
}
