import { composeApps, type ServiceName } from '../testing/openapi.ts'

/** The addresses of the services in the saved documents: the reader's own machine. */
const URLS: Record<ServiceName, string> = {
  customers: 'http://localhost:3001',
  orders: 'http://localhost:3010',
  orchestrator: 'http://localhost:3000',
}

/** A document as saved in `openapi/`. Its addresses do not depend on where the file is. */
export async function openapiText(service: ServiceName): Promise<string> {
  const apps = await composeApps({ PUBLIC_URL: URLS[service] })
  const document: unknown = await (await apps[service].request('/openapi.json')).json()
  return `${JSON.stringify(document, null, 2)}\n`
}
