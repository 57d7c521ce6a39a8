import { composeApps, type ServiceName } from '../testing/openapi.ts'

/** Where the services are that the saved documents speak of: on the machine of whoever tries them. */
const URLS: Record<ServiceName, string> = {
  customers: 'http://localhost:3001',
  orders: 'http://localhost:3010',
  orchestrator: 'http://localhost:3000',
}

/** A document as `openapi/` has it: with addresses that hold wherever the file is. */
export async function openapiText(service: ServiceName): Promise<string> {
  const apps = await composeApps({ PUBLIC_URL: URLS[service] })
  const document: unknown = await (await apps[service].request('/openapi.json')).json()
  return `${JSON.stringify(document, null, 2)}\n`
}
