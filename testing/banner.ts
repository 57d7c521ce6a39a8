import { type ApiClient, apiClient } from './api-client.ts'
import { type Program, until } from './programs.ts'

export interface Banner {
  /** As printed. */
  text: string
  token: string
  customers: ApiClient
  orders: ApiClient
  orchestrator: ApiClient
}

/** Reads from the banner of `npm start` where its three services are. */
export async function readBanner(program: Program): Promise<Banner> {
  const text = await until(
    () => (/-H "authorization: Bearer \$TOKEN"\n/.test(program.stderr()) ? program.stderr() : undefined),
    () => `no banner\n${program.stdout()}\n${program.stderr()}`,
  )
  const pick = (pattern: RegExp) => pattern.exec(text)?.[1] ?? ''
  const token = pick(/export TOKEN=(\S+)/)
  return {
    text,
    token,
    customers: apiClient(pick(/Customers +(\S+)/), token),
    orders: apiClient(pick(/Orders +(\S+)/), token),
    orchestrator: apiClient(pick(/Orchestrator +(\S+)/), token),
  }
}
